<?php

declare(strict_types=1);

namespace Resident;

use Psr\Log\LoggerInterface;
use Resident\Exception\CallerError;
use Resident\Exception\ConfigurationError;
use Resident\Exception\OperatorError;
use Resident\Exception\ResidentException;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Redis\ConnectionLost;
use Resident\Redis\Dsn;
use Resident\Redis\DsnSource;
use Resident\Redis\ErrorReply;
use Resident\Redis\FactorySource;
use Resident\Redis\Fault;
use Resident\Redis\LentSource;
use Resident\Redis\Link;
use Resident\Redis\Source;
use Resident\Redis\Tries;
use Resident\Wire\Lane;
use Resident\Wire\Names;
use Resident\Wire\NoReply;
use Resident\Wire\Question;
use Resident\Wire\Reply;

/**
 * Asks resident tasks through Redis: `(new Client($dsn))->ask('faq', '今天几点开门？')`.
 */
final class Client
{
    /**
     * A day.
     */
    public const MAX_BUDGET_MS = 86_400_000;

    private readonly Source $source;
    private readonly Log $log;
    private readonly Tries $tries;
    private readonly Door $door;
    private readonly Cancelling $cancelling;
    private readonly Waiting $waiting;

    /**
     * @param \Redis|string|\Closure(): \Redis $redis A connected object, whose settings are given
     *     back as they were and which nobody else uses during a call; or a function that makes one,
     *     called at the first question and again when the connection is lost; or a DSN, for a
     *     connection of the client's own: `redis://[user[:password]@]host:port/db`, `rediss://…` for
     *     TLS, `unix://[:password@]/path/redis.sock?db=0`.
     * @param LoggerInterface|null $logger Is told of lost connections, never of questions.
     * @throws ConfigurationError The DSN cannot be read, or this PHP lacks what the client needs.
     */
    public function __construct(
        #[\SensitiveParameter] \Redis|string|\Closure $redis,
        private readonly Options $options = new Options(),
        ?LoggerInterface $logger = null,
    ) {
        self::checkPhp();
        $this->source = match (true) {
            is_string($redis) => new DsnSource(Dsn::parse($redis)),
            $redis instanceof \Redis => new LentSource($redis),
            default => new FactorySource($redis),
        };
        $this->log = new Log($logger);
        $this->tries = new Tries($this->source, $this->log);
        $this->door = new Door($this->source, $options, $this->tries);
        $this->cancelling = new Cancelling($this->tries, $options);
        $this->waiting = new Waiting($this->source, $this->log);
    }

    /**
     * Asks one question and waits for its answer.
     *
     * @param string $task The task's name, such as `faq`.
     * @param mixed $question What the task takes, usually a string; any JSON value. An empty array
     *     is a list; an empty JSON object is `new \stdClass()`.
     * @param int|null $budgetMs How long to wait in all; a question that is not begun by then
     *     never runs.
     * @param string|null $id An idempotency key, 1 to 64 of A-Z a-z 0-9 _ -. Whoever asks with
     *     the same key, anywhere, gets the same reply from one run of the model.
     * @param string $priority `high`, `normal` or `low`: which of the questions that wait is taken first.
     * @param string $tenant For whom it is asked, any text. Tenants that wait are served by turns.
     * @throws CallerError The question, the id, the budget, the priority or the task's name is wrong.
     * @throws OperatorError No worker is ready, or the model failed.
     * @throws TryAgain The task has too much to do, or the budget ran out (`expired`).
     * @throws TransportError Redis could not be reached, or refused us.
     * @throws ConfigurationError The Redis object has options that would spoil keys or values.
     */
    public function ask(
        string $task,
        #[\SensitiveParameter] mixed $question,
        ?int $budgetMs = null,
        ?string $id = null,
        string $priority = 'normal',
        string $tenant = '',
    ): Answer {
        $deadline = $this->deadline($budgetMs);
        $lane = Lane::of($priority, $tenant);
        $checked = Question::of($task, $question, $id, $deadline->budgetMs, $this->options, $lane);
        return $this->guarded($checked->id, function () use ($checked, $deadline): Answer {
            $this->door->enter($checked, $deadline);
            $again = fn (Link $link): bool => $this->door->enterAgain($link, $checked, $deadline);
            return $this->answer($checked->id, $checked->isShared, $deadline, $again);
        });
    }

    /**
     * Asks many questions at once and waits for all replies.
     *
     * @param string $task The task's name.
     * @param array<mixed> $questions What the task takes, as for `ask`.
     * @param int|null $budgetMs How long to wait in all.
     * @param string $priority As for `ask`.
     * @param string $tenant As for `ask`.
     * @return array<array-key, Answer|ResidentException> Under the key of each question its answer,
     *     or the exception that `ask` would have thrown for it alone: one bad question does not spoil
     *     the others.
     * @throws CallerError The budget, the priority or the task's name is wrong; nothing was asked.
     * @throws ConfigurationError As `ask` does.
     */
    public function askMany(
        string $task,
        #[\SensitiveParameter] array $questions,
        ?int $budgetMs = null,
        string $priority = 'normal',
        string $tenant = '',
    ): array {
        $deadline = $this->deadline($budgetMs);
        $lane = Lane::of($priority, $tenant);
        $many = Many::of(Names::checkTask($task), $questions, $deadline->budgetMs, $this->options, $lane);
        if ($many->good() !== []) {
            $this->askAll($many, $deadline);
        }
        return $many->outcomes();
    }

    /**
     * Asks one question and does not wait; `wait`, in any request or process, fetches the reply.
     *
     * @param string $task The task's name.
     * @param mixed $question What the task takes, as for `ask`.
     * @param int|null $budgetMs How long it may wait for its turn; shorter than an answer takes now, it is
     *     refused (`overloaded`).
     * @param string|null $id An idempotency key, as for `ask`.
     * @param string $priority As for `ask`.
     * @param string $tenant As for `ask`.
     * @return string The question's id.
     * @throws CallerError|OperatorError|TryAgain|ConfigurationError As `ask` does.
     */
    public function submit(
        string $task,
        #[\SensitiveParameter] mixed $question,
        ?int $budgetMs = null,
        ?string $id = null,
        string $priority = 'normal',
        string $tenant = '',
    ): string {
        $deadline = $this->deadline($budgetMs);
        $lane = Lane::of($priority, $tenant);
        $checked = Question::of($task, $question, $id, $deadline->budgetMs, $this->options, $lane);
        $this->guarded($checked->id, fn () => $this->door->enter($checked, $deadline));
        return $checked->id;
    }

    /**
     * Waits for the reply to a question that was submitted, here or elsewhere.
     *
     * The reply is left until it expires (60 s), so it can be fetched again, and by others.
     *
     * @param string $id What `submit` returned.
     * @param int|null $budgetMs How long to wait.
     * @throws CallerError The id or the budget is wrong.
     * @throws OperatorError The model failed.
     * @throws TryAgain There was no reply within the budget (`expired`).
     * @throws TransportError Redis could not be reached, or refused us.
     * @throws ConfigurationError As `ask` does.
     */
    public function wait(string $id, ?int $budgetMs = null): Answer
    {
        $deadline = $this->deadline($budgetMs);
        $id = Names::checkId($id);
        return $this->guarded($id, fn (): Answer => $this->answer($id, true, $deadline));
    }

    /**
     * Takes a question back: it will not run, or its answer is dropped and its stream stops.
     *
     * Whoever waits for its reply gets TryAgain (`cancelled`) at once. It may be asked again.
     *
     * @param string $id What `submit` returned, or a key of the caller's own.
     * @return bool Whether there was something to cancel: a question that had no reply yet.
     * @throws CallerError The id is wrong.
     * @throws TransportError Redis could not be reached, or refused us.
     * @throws ConfigurationError As `ask` does.
     */
    public function cancel(string $id): bool
    {
        $deadline = $this->deadline($this->options->readTimeoutMs);
        $id = Names::checkId($id);
        return $this->guarded($id, fn (): bool => $this->cancelling->cancel($id, $deadline, isTold: true));
    }

    /**
     * Asks one question whose answer is read as it comes.
     *
     * @param string $task The task's name, such as `chat`.
     * @param mixed $question What the task takes, as for `ask`.
     * @param int|null $budgetMs How long the whole answer may take, from now to its end.
     * @param string $priority As for `ask`.
     * @param string $tenant As for `ask`.
     * @throws CallerError|OperatorError|TryAgain|ConfigurationError As `ask` does.
     */
    public function stream(
        string $task,
        #[\SensitiveParameter] mixed $question,
        ?int $budgetMs = null,
        string $priority = 'normal',
        string $tenant = '',
    ): Stream {
        $deadline = $this->deadline($budgetMs);
        $lane = Lane::of($priority, $tenant);
        $checked = Question::of($task, $question, null, $deadline->budgetMs, $this->options, $lane)->streamed();
        $reading = new Reading(
            $this->guarded(...),
            $this->tries,
            $this->waiting,
            $this->cancelling,
            $checked,
            $deadline,
            Keys::job($this->options->keyPrefix, $checked->id)
        );
        $reading->enter($this->door);
        return new Stream($reading, $checked);
    }

    /**
     * It would write the password down.
     *
     * @return never
     */
    public function __serialize(): array
    {
        throw new \LogicException('A Resident\Client cannot be serialized; make another where it is needed');
    }

    private static function checkPhp(): void
    {
        if (!class_exists(\Redis::class)) {
            throw new ConfigurationError(
                'PHP lacks its extension redis: apt-get install php-redis, or pecl install redis'
            );
        }
        if (PHP_INT_SIZE < 8) {
            throw new ConfigurationError('This PHP has integers of 32 bits; Resident needs one of 64 bits');
        }
    }

    private function deadline(?int $budgetMs): Deadline
    {
        return Deadline::in($budgetMs ?? $this->options->budgetMs, $this->options->readTimeoutMs);
    }

    /**
     * @param (\Closure(Link): bool)|null $askAgain
     */
    private function answer(string $id, bool $keep, Deadline $deadline, ?\Closure $askAgain = null): Answer
    {
        $payload = $this->waiting->forReply($id, $keep, $deadline, $askAgain);
        return $payload === null ? throw self::expired($id, $deadline) : Reply::decode($payload, $id);
    }

    private function askAll(Many $many, Deadline $deadline): void
    {
        $mailbox = new Mailbox();
        $trouble = null;
        try {
            $this->guarded('', function () use ($many, $mailbox, $deadline): void {
                foreach ($this->door->enterAll($many->good(), $mailbox->key, $deadline) as $id => $refusal) {
                    $many->note((string) $id, $refusal);
                }
                $mailbox->expect($many->open());
                if (!$mailbox->isComplete()) {
                    $again = fn (Link $link): bool
                        => $this->door->enterForgotten($link, $many->good(), $mailbox, $deadline);
                    $this->waiting->forReplies($mailbox, $deadline, $again);
                }
            });
        } catch (TransportError $trouble) {
            // Those that are answered are; the others are told below.
        }
        foreach ($mailbox->payloads() as $id => $payload) {
            $many->note((string) $id, self::outcome($payload, (string) $id));
        }
        $fault = $many->fault();
        if ($trouble === null && $fault !== null) {
            $this->log->failed($fault); // one for all that have it
        }
        foreach ($many->open() as $id) {
            $many->note($id, $trouble === null
                ? self::expired($id, $deadline)
                : new TransportError($trouble->getMessage(), $id));
        }
    }

    private static function outcome(string $payload, string $id): Answer|ResidentException
    {
        try {
            return Reply::decode($payload, $id);
        } catch (ResidentException $error) {
            return $error;
        } catch (NoReply $other) {
            return self::noReply($other, $id);
        }
    }

    private static function expired(string $id, Deadline $deadline): TryAgain
    {
        return new TryAgain(ErrorCode::Expired, "No answer within $deadline->budgetMs ms", $id);
    }

    private static function noReply(NoReply $other, string $id): TransportError
    {
        return new TransportError("What came back is no reply: {$other->getMessage()}", $id);
    }

    /**
     * Does what needs Redis; a connection that something went wrong with is closed.
     *
     * @template T
     * @param \Closure(): T $work
     * @return T
     */
    private function guarded(string $id, \Closure $work): mixed
    {
        try {
            return $work();
        } catch (ErrorReply $refusal) {
            throw $this->failed(Fault::of($refusal, $this->source->place(), $id));
        } catch (ConnectionLost $loss) {
            $fault = Fault::of($loss, $this->source->place(), $id);
            $this->source->drop();
            throw $this->failed($fault);
        } catch (NoReply $other) {
            $this->source->drop(); // it may be the answer to something else
            throw $this->failed(self::noReply($other, $id));
        } finally {
            $this->source->release();
        }
    }

    private function failed(TransportError $error): TransportError
    {
        $this->log->failed($error);
        return $error;
    }
}
