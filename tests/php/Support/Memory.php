<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

use PHPUnit\Framework\TestCase;
use Psr\Log\AbstractLogger;

/**
 * A PSR-3 logger that remembers.
 */
final class Memory
{
    /**
     * @param \Throwable|null $error What it throws for each record, too.
     */
    public static function logger(?\Throwable $error = null): AbstractLogger
    {
        if (!class_exists(AbstractLogger::class)) {
            getenv('CI') ? TestCase::fail('psr/log is not there') : TestCase::markTestSkipped('psr/log is not there');
        }
        return new class ($error) extends AbstractLogger {
            /** @var list<array{string, string, array<mixed>}> */
            public array $records = [];

            public function __construct(private readonly ?\Throwable $error)
            {
            }

            public function log($level, $message, array $context = []): void
            {
                $this->records[] = [$level, $message, $context];
                if ($this->error !== null) {
                    throw $this->error;
                }
            }
        };
    }
}
