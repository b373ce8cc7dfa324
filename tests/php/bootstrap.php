<?php

declare(strict_types=1);

error_reporting(E_ALL);

require __DIR__ . '/../../php_client/autoload.php';

// Debian's php-psr-log, if it is there; the client itself needs it only for a logger.
if (is_file('/usr/share/php/Psr/Log/autoload.php')) {
    require '/usr/share/php/Psr/Log/autoload.php';
}

spl_autoload_register(static function (string $class): void {
    $path = __DIR__ . '/' . str_replace('\\', '/', substr($class, strlen('Resident\\Tests\\'))) . '.php';
    if (str_starts_with($class, 'Resident\\Tests\\') && is_file($path)) {
        require $path;
    }
});
