<?php

declare(strict_types=1);

// PSR-4 without Composer: Resident\Redis\Dsn is src/Redis/Dsn.php.
spl_autoload_register(static function (string $class): void {
    $path = __DIR__ . '/src/' . str_replace('\\', '/', substr($class, strlen('Resident\\'))) . '.php';
    if (str_starts_with($class, 'Resident\\') && is_file($path)) {
        require $path;
    }
});
