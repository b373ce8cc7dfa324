<?php

declare(strict_types=1);

namespace Resident\Cli;

use Resident\Answer;
use Resident\Client;
use Resident\Exception\ConfigurationError;
use Resident\Exception\ResidentException;
use Resident\Wire\Json;

/**
 * What bin/ask does.
 *
 * @internal
 */
final class AskCommand
{
    private const HELP = <<<'TEXT'
        Usage: ask [--json] [--budget MS] [--priority P] [--tenant NAME] TASK QUESTION

        Asks a resident task and prints its answer.

          QUESTION         what to ask; - reads a question from each line of standard input that is not blank
          --json           one JSON object per line: question, answer, ms, batch; or question, error
          --budget MS      how long to wait for each answer (RESIDENT_BUDGET_MS, 5000)
          --priority P     which of those that wait are taken first: high, normal, low (normal)
          --tenant NAME    for whom to ask; tenants that wait take turns

        RESIDENT_REDIS_URL says where Redis is (redis://127.0.0.1:6379/0).
        Exit code: 0 all answered, 1 an error came back or nobody reads on, 2 wrong usage.

        TEXT;

    /**
     * What was printed last went nowhere.
     */
    private bool $isUnread = false;

    /**
     * @param resource $input
     * @param resource $output
     * @param resource $errors
     */
    public function __construct(
        #[\SensitiveParameter] private readonly string $url,
        private readonly mixed $input,
        private readonly mixed $output,
        private readonly mixed $errors,
    ) {
    }

    /**
     * @param list<string> $words Without the name of the program.
     * @return int The exit code.
     */
    public function run(array $words): int
    {
        try {
            $arguments = Arguments::read($words);
            if ($arguments->isHelp) {
                fwrite($this->output, self::HELP);
                return 0;
            }
            return $this->askAll(new Client($this->url), $arguments) ? 0 : 1;
        } catch (Usage | ConfigurationError $error) {
            fwrite($this->errors, "ask: {$error->getMessage()} (--help tells more)\n");
            return 2;
        }
    }

    private function askAll(Client $client, Arguments $arguments): bool
    {
        if ($arguments->question !== '-') {
            return $this->askOne($client, $arguments, $arguments->question);
        }
        $isAllAnswered = true;
        foreach ($this->lines() as $line) {
            $isAllAnswered = $this->askOne($client, $arguments, $line) && $isAllAnswered;
            if ($this->isUnread) {
                break;
            }
        }
        return $isAllAnswered;
    }

    /**
     * Those that are not blank, without the mark that some editors put before a UTF-8 text.
     *
     * @return iterable<string>
     */
    private function lines(): iterable
    {
        for ($isFirst = true; ($line = fgets($this->input)) !== false; $isFirst = false) {
            $line = $isFirst && str_starts_with($line, "\u{FEFF}") ? substr($line, 3) : $line;
            if (trim($line) !== '') {
                yield rtrim($line, "\r\n");
            }
        }
    }

    private function askOne(Client $client, Arguments $arguments, string $question): bool
    {
        $startNs = hrtime(true);
        try {
            $answer = $client->ask(
                $arguments->task,
                $question,
                $arguments->budgetMs,
                priority: $arguments->priority,
                tenant: $arguments->tenant,
            );
        } catch (ResidentException $error) {
            $this->printError($arguments, $question, $error);
            return false;
        }
        $ms = round((hrtime(true) - $startNs) / 1e6, 3);
        $this->printAnswer($arguments, $question, $answer, $ms);
        return !$this->isUnread;
    }

    private function printAnswer(Arguments $arguments, string $question, Answer $answer, float $ms): void
    {
        $line = $arguments->isJson ? Json::encode([
            'question' => $question,
            'answer' => $answer->answer,
            'ms' => $ms,
            'batch' => $answer->batch,
        ]) : (string) $answer;
        $this->print($line);
    }

    private function printError(Arguments $arguments, string $question, ResidentException $error): void
    {
        $code = $error->code()->value;
        if (!$arguments->isJson) {
            $message = strtr($error->getMessage(), "\r\n", '  ');
            fwrite($this->errors, "ask: $code: $message\n");
            return;
        }
        $this->print(Json::encodeAnyhow([
            'question' => $question,
            'error' => ['code' => $code, 'message' => $error->getMessage()],
        ]));
    }

    private function print(string $line): void
    {
        $this->isUnread = @fwrite($this->output, "$line\n") !== strlen($line) + 1;
    }
}
