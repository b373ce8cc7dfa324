<?php

declare(strict_types=1);

namespace Resident;

use Resident\Exception\CallerError;
use Resident\Exception\ConfigurationError;
use Resident\Exception\OperatorError;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Redis\ConnectionLost;
use Resident\Redis\Dsn;
use Resident\Redis\DsnSource;
use Resident\Redis\ErrorReply;
use Resident\Redis\Fault;
use Resident\Redis\LentSource;
use Resident\Redis\Source;
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
    private readonly Door $door;
    private readonly Waiting $waiting;

    /**
     * @param \Redis|string $redis A connected object, whose settings are given back as they were
     *     and which nobody else uses during an ask; or a DSN, which connects at the first question
     *     and again when the connection is lost: `redis://[user[:password]@]host:port/db`,
     *     `rediss://…` for TLS, `unix://[:password@]/path/redis.sock?db=0`.
     * @throws ConfigurationError The DSN cannot be read.
     */
    public function __construct(
        #[\SensitiveParameter] \Redis|string $redis,
        private readonly Options $options = new Options(),
    ) {
        $this->source = is_string($redis) ? new DsnSource(Dsn::parse($redis)) : new LentSource($redis);
        $this->door = new Door($this->source, $options);
        $this->waiting = new Waiting($this->source, $options);
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
     * @throws CallerError The question, the id, the budget or the task's name is wrong.
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
    ): Answer {
        $budgetMs ??= $this->options->budgetMs;
        $deadline = Deadline::in($budgetMs);
        $checked = Question::of($task, $question, $id, $budgetMs, $this->options);
        try {
            return $this->askChecked($checked, $deadline);
        } catch (ErrorReply $refusal) {
            throw Fault::of($refusal, $this->source->place(), $checked->id);
        } catch (ConnectionLost $loss) {
            $this->source->drop();
            throw Fault::of($loss, $this->source->place(), $checked->id);
        } catch (NoReply $other) {
            throw new TransportError("What came back is no reply: {$other->getMessage()}", $checked->id);
        } finally {
            $this->source->release();
        }
    }

    private function askChecked(Question $question, Deadline $deadline): Answer
    {
        $this->door->enter($question, $deadline);
        $payload = $this->waiting->forReply($question, $deadline);
        if ($payload === null) {
            $message = "No answer within $question->budgetMs ms";
            throw new TryAgain(ErrorCode::Expired, $message, $question->id);
        }
        return Reply::decode($payload, $question->id);
    }
}
