<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

/**
 * A PHP program that runs beside the test.
 */
final class Program
{
    /** @var resource|null */
    private mixed $process;
    /** @var array<int, resource> */
    private array $pipes = [];

    /**
     * @param list<string> $words The file, from the project's folder, and its arguments.
     * @param array<string, string> $environment
     */
    public function __construct(array $words, array $environment = [], string $input = '')
    {
        $pipes = [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']];
        $this->process = proc_open(
            [PHP_BINARY, '-d', 'display_errors=stderr', ...$words],
            $pipes,
            $this->pipes,
            dirname(__DIR__, 3),
            $environment + getenv()
        );
        fwrite($this->pipes[0], $input);
        fclose($this->pipes[0]);
    }

    /**
     * The next line that it prints, without its end; waits for it.
     */
    public function line(): string
    {
        return rtrim((string) fgets($this->pipes[1]), "\n");
    }

    /**
     * Waits for its end.
     *
     * @return array{int, string, string} Exit code, standard output, standard error.
     */
    public function result(): array
    {
        [$output, $errors] = array_map(stream_get_contents(...), [$this->pipes[1], $this->pipes[2]]);
        $exitCode = proc_close($this->process);
        $this->process = null;
        return [$exitCode, $output, $errors];
    }

    /**
     * A test that failed leaves nobody behind to disturb the next.
     */
    public function __destruct()
    {
        if ($this->process !== null) {
            proc_terminate($this->process, SIGKILL);
            proc_close($this->process);
        }
    }
}
