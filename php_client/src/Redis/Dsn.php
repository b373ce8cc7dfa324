<?php

declare(strict_types=1);

namespace Resident\Redis;

use Resident\Exception\ConfigurationError;
use Resident\Wire\Json;

/**
 * Where Redis is: `redis://[user[:password]@]host[:port][/db]`, `rediss://…` for TLS, or
 * `unix://[user[:password]@]/path/redis.sock[?db=0]`. Parts are percent-encoded. If a database is named
 * twice, `?db=` counts, as in redis-py.
 *
 * @internal
 */
final class Dsn
{
    private const FORM = '~\A(?=[^\x00-\x1F\x7F]*\z)'
        . '(?<scheme>redis|rediss|unix)://(?:(?<user>[^:@/?]*)(?::(?<password>[^@/?]*))?@)?'
        . '(?<host>\[[0-9A-Fa-f:.]+\]|[^:/?@]*)(?::(?<port>\d{1,5}))?(?<path>/[^?]*)?(?:\?(?<query>.*))?\z~';

    /**
     * TLS parameters as redis-py names them => as PHP's stream contexts do.
     */
    private const TLS_PARAMETERS = [
        'ssl_ca_certs' => 'cafile',
        'ssl_certfile' => 'local_cert',
        'ssl_keyfile' => 'local_pk',
    ];

    /**
     * As redis-py; a server always has a certificate, so that optional is as strict as required.
     */
    private const CERT_REQS = ['required', 'optional', 'none'];

    /**
     * @param \SensitiveParameterValue $hidden The password, so that not even var_export() shows it.
     * @param string $host As ext-redis takes it: a name, tls://name, or a socket's path.
     * @param int $port 0 for a unix socket.
     * @param array<string, string|bool> $tls Options of PHP's `ssl` stream context.
     */
    private function __construct(
        public readonly string $host,
        public readonly int $port,
        public readonly string $user,
        private readonly \SensitiveParameterValue $hidden,
        public readonly int $database,
        public readonly array $tls,
    ) {
    }

    /**
     * @throws ConfigurationError
     */
    public static function parse(#[\SensitiveParameter] string $dsn): self
    {
        if ($dsn === '') {
            throw self::isWrong('it is empty; perhaps RESIDENT_REDIS_URL is not set (php-fpm clears the '
                . 'environment: set it by env[RESIDENT_REDIS_URL] in its pool, or clear_env = no)');
        }
        if (preg_match(self::FORM, $dsn, $part, PREG_UNMATCHED_AS_NULL) !== 1) {
            throw self::isWrong('it is not of one of these forms' . (str_contains($dsn, '@')
                ? ' (in user and password @ : / ? # % are percent-encoded: rawurlencode())' : ''));
        }
        $parameters = self::parameters($part['query'] ?? '');
        $path = rawurldecode($part['path'] ?? '');
        $isSocket = $part['scheme'] === 'unix';
        $place = $isSocket ? [self::socket($part, $path), 0] : self::address($part);
        return new self(
            $place[0],
            $place[1],
            rawurldecode($part['user'] ?? ''),
            new \SensitiveParameterValue(rawurldecode($part['password'] ?? '')),
            self::database($parameters['db'] ?? ($isSocket ? '' : trim($path, '/'))),
            self::tls($parameters, $part['scheme'] === 'rediss'),
        );
    }

    public function password(): string
    {
        $password = $this->hidden->getValue();
        return is_string($password) ? $password : '';
    }

    /**
     * For messages: without user and password.
     */
    public function place(): string
    {
        return $this->port === 0 ? $this->host : "$this->host:$this->port";
    }

    /**
     * @return array<string, mixed>
     */
    public function __debugInfo(): array
    {
        return ['place' => $this->place(), 'database' => $this->database];
    }

    /**
     * @param array<string|null> $part
     */
    private static function socket(array $part, string $path): string
    {
        if ($path === '' || ($part['host'] ?? '') !== '' || $part['port'] !== null) {
            throw self::isWrong('unix:// needs the absolute path of a socket');
        }
        return $path;
    }

    /**
     * @param array<string|null> $part
     * @return array{string, int}
     */
    private static function address(array $part): array
    {
        $host = trim($part['host'] ?? '', '[]') ?: 'localhost';
        $port = (int) ($part['port'] ?? '6379');
        if ($port < 1 || $port > 65_535) {
            throw self::isWrong("the port $port is not from 1 to 65535");
        }
        return [($part['scheme'] === 'rediss' ? 'tls://' : '') . $host, $port];
    }

    private static function database(string $number): int
    {
        if (preg_match('/\A\d{0,6}\z/', $number) !== 1) {
            throw self::isWrong('the database is not a number');
        }
        return (int) $number;
    }

    /**
     * @return array<string, string>
     */
    private static function parameters(string $query): array
    {
        parse_str($query, $parameters);
        $known = ['db', 'ssl_cert_reqs', ...array_keys(self::TLS_PARAMETERS)];
        foreach ($parameters as $name => $value) {
            if (!in_array($name, $known, true) || !is_string($value)) {
                throw self::isWrong('after ? it takes ' . implode(', ', $known) . ' only');
            }
        }
        /** @var array<string, string> $parameters */
        return array_filter($parameters, static fn (string $value): bool => $value !== ''); // as redis-py
    }

    /**
     * @param array<string, string> $parameters
     * @return array<string, string|bool>
     */
    private static function tls(array $parameters, bool $isTls): array
    {
        $named = array_diff_key($parameters, ['db' => '']);
        if ($named !== [] && !$isTls) {
            throw self::isWrong(array_key_first($named) . ' is for rediss:// only');
        }
        $tls = [];
        foreach (array_intersect_key(self::TLS_PARAMETERS, $named) as $name => $phpName) {
            $tls[$phpName] = self::readable($name, $named[$name]);
        }
        $wanted = $named['ssl_cert_reqs'] ?? 'required';
        if (!in_array($wanted, self::CERT_REQS, true)) {
            throw self::isNoValue('ssl_cert_reqs', $wanted, 'one of ' . implode(', ', self::CERT_REQS));
        }
        return $wanted === 'none' ? $tls + ['verify_peer' => false, 'verify_peer_name' => false] : $tls;
    }

    private static function readable(string $name, string $file): string
    {
        if (!is_file($file) || !is_readable($file)) {
            throw self::isNoValue($name, $file, 'a file that can be read');
        }
        return $file;
    }

    private static function isNoValue(string $name, string $value, string $mayBe): ConfigurationError
    {
        return self::isWrong("$name is " . Json::quote($value) . ", and must be $mayBe");
    }

    private static function isWrong(string $reason): ConfigurationError
    {
        return new ConfigurationError(
            "The Redis DSN cannot be read: $reason: redis://[user[:password]@]host:port/db, "
            . 'rediss:// for TLS, unix://[:password@]/path/redis.sock?db=0'
        );
    }
}
