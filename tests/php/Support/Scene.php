<?php

declare(strict_types=1);

namespace Resident\Tests\Support;

use PHPUnit\Framework\Assert;

/**
 * One scenario on its stage; a new thing that happens beside the calls is a method and a line of
 * `playOne`.
 */
final class Scene
{
    /**
     * Over the budget; what a machine that has other things to do may add is much more than ours.
     */
    private const OVER_MS = 50 + 450;
    /**
     * Lays a reply where it is waited for and ends its job, as a worker does: all at once, and after a
     * first write that needs no memory, so that a Redis which is full takes it.
     */
    private const ANSWER = <<<'LUA'
        redis.call('DEL', '')
        redis.call('RPUSH', KEYS[1], ARGV[1])
        redis.call('PEXPIRE', KEYS[1], 60000)
        if KEYS[2] then redis.call('HSET', KEYS[2], 'status', 'finished') end
        LUA;

    /** @var array<string, string> */
    private array $names;
    private readonly string $files;
    /** @var array<string, Program> */
    private array $callers = [];

    /**
     * @param string $url Where the callers find Redis.
     * @param \Redis|null $redis What the test sees of it, if there is one.
     */
    public function __construct(private readonly string $url, private readonly ?\Redis $redis)
    {
        $this->names = ['$new' => bin2hex(random_bytes(16)), '$new64' => bin2hex(random_bytes(32))];
        foreach (range(1, 4) as $n) {
            $this->names["\$new-$n"] = bin2hex(random_bytes(16));
        }
        $this->files = sys_get_temp_dir() . "/resident-{$this->names['$new']}";
        $this->names += ['$file-1' => "$this->files-1", '$file-2' => "$this->files-2"];
    }

    /**
     * @param list<\stdClass> $steps
     */
    public function play(array $steps): void
    {
        try {
            foreach ($steps as $step) {
                $this->playOne($this->named($step));
            }
        } finally {
            array_map(unlink(...), glob("$this->files-*"));
            if ($this->redis !== null) {
                $this->change('well');
            }
        }
    }

    private function playOne(\stdClass $step): void
    {
        if (in_array($step->do, Calls::NAMES, true)) {
            $this->compare($step, $step, Calls::resultOf($this->url, $step));
            return;
        }
        match ($step->do) {
            'begin' => $this->begin($step),
            'end' => $this->end($step),
            'announce' => $this->announce($step),
            'fill' => $this->redis->rPush("rq:queue:$step->task", ...array_fill(0, $step->jobs, 'filled')),
            'work' => $this->work($step),
            'reply' => $this->reply($step),
            'forget' => $this->redis->del("resident:reply:$step->id"),
            'gone' => Wait::until(fn (): bool => !$this->redis->exists("rq:job:$step->id")),
            'check' => $this->checkQueue("rq:queue:$step->task" . ($step->lane ?? ''), $step->waiting),
            'claim' => $this->claim($step),
            'touch' => touch($step->file),
            'touched' => Wait::until(static fn (): bool => file_exists($step->file)),
            'runs' => Wait::until(fn (): bool => $this->redis->hGet("rq:job:$step->id", 'status') === 'started'),
            'order' => $this->checkOrder($step->ids),
            'callers' => Wait::until(fn (): bool => count($this->blocked()) === $step->waiting),
            'refuses' => Wait::until(fn (): bool => isset($this->redis->info('errorstats')['errorstat_OOM'])),
            'redis' => $this->change($step->state),
        };
    }

    private function begin(\stdClass $step): void
    {
        $words = ['tests/php/Support/call.php', $this->url];
        $this->callers[$step->name] = new Program($words, [], json_encode($step->call, JSON_THROW_ON_ERROR));
    }

    private function end(\stdClass $step): void
    {
        [$exitCode, $output, $errors] = $this->callers[$step->name]->result();
        unset($this->callers[$step->name]);
        Assert::assertSame([0, ''], [$exitCode, $errors]);
        $this->compare($step, null, json_decode($output, true, 512, JSON_THROW_ON_ERROR));
    }

    private function announce(\stdClass $step): void
    {
        $untilMs = ((int) $this->redis->time()[0] + 60) * 1000;
        $this->redis->zAdd('resident:tasks', $untilMs, $step->task);
        $said = array_intersect_key((array) $step, ['max_backlog' => 0, 'rate' => 0, 'model_ms' => 0]);
        $this->redis->hMSet("resident:task:$step->task", $said + ['max_backlog' => 1000]);
    }

    private function checkQueue(string $queue, int $waiting): void
    {
        Wait::until(fn (): bool => $this->redis->lLen($queue) === $waiting);
    }

    /**
     * Takes this id off its queue as a worker does that begins to run it.
     */
    private function claim(\stdClass $step): void
    {
        Assert::assertSame(1, $this->redis->lRem("rq:queue:$step->task", $step->id, 1));
        $this->redis->hSet("rq:job:$step->id", 'status', 'started');
    }

    /**
     * In which the questions with these ids were answered, each with the time.
     *
     * @param list<string> $ids
     */
    private function checkOrder(array $ids): void
    {
        $moments = [];
        foreach ($ids as $id) {
            $reply = Wait::until(fn (): mixed => $this->redis->lIndex("resident:reply:$id", 0) ?: null);
            $moments[$id] = (int) json_decode($reply, false, 512, JSON_THROW_ON_ERROR)->answer;
        }
        asort($moments);
        Assert::assertSame($ids, array_map(strval(...), array_keys($moments)));
    }

    /**
     * Answers the next question that waits; an id whose hash is gone is passed over.
     */
    private function work(\stdClass $step): void
    {
        $id = Wait::until(function () use ($step): ?string {
            $id = $this->redis->lPop("rq:queue:$step->task");
            return $id !== false && $this->redis->exists("rq:job:$id") ? $id : null;
        });
        $key = $this->redis->hGet("rq:job:$id", 'reply_to') ?: "resident:reply:$id";
        $this->push($step, $id, $key, "rq:job:$id");
    }

    private function reply(\stdClass $step): void
    {
        $key = "resident:reply:$step->id";
        match (true) {
            isset($step->string) => $this->redis->set($key, $step->string),
            isset($step->payload) => $this->redis->rPush($key, $step->payload),
            default => $this->push($step, $step->id, $key),
        };
    }

    private function push(\stdClass $step, string $id, string ...$keys): void
    {
        $said = isset($step->error)
            ? ['ok' => false, 'error' => ['code' => $step->error, 'message' => 'So it is.']]
            : ['ok' => true, 'answer' => $step->answer, 'ms' => ['queued' => 1.5, 'model' => 2.5]];
        $reply = json_encode(['v' => 1, 'id' => $id] + $said, JSON_THROW_ON_ERROR);
        $this->redis->eval(self::ANSWER, [...$keys, $reply], count($keys));
    }

    private function change(string $state): void
    {
        match ($state) {
            'cuts' => array_map(
                fn (string $id): mixed => $this->redis->rawCommand('CLIENT', 'KILL', 'ID', $id),
                $this->blocked()
            ),
            'full' => [
                $this->redis->rawCommand('CONFIG', 'RESETSTAT'),
                $this->redis->config('SET', 'maxmemory', '1'),
            ],
            'read-only' => $this->redis->rawCommand('REPLICAOF', '127.0.0.1', '1'),
            'well' => [
                $this->redis->rawCommand('REPLICAOF', 'NO', 'ONE'),
                $this->redis->config('SET', 'maxmemory', '0'),
            ],
        };
    }

    /**
     * @return list<string>
     */
    private function blocked(): array
    {
        $isBlocked = static fn (array $client): bool => str_contains($client['flags'], 'b');
        $blocked = array_filter($this->redis->client('list'), $isBlocked);
        return array_map(strval(...), array_column($blocked, 'id'));
    }

    private function named(mixed $written): mixed
    {
        if ($written instanceof \stdClass) {
            return (object) array_map($this->named(...), get_object_vars($written));
        }
        if (is_array($written)) {
            return array_map($this->named(...), $written);
        }
        return is_string($written) ? $this->names[$written] ?? $written : $written;
    }

    /**
     * @param \stdClass|null $call The call, if it ran here and its time is to be looked at.
     * @param array<string, mixed> $result
     */
    private function compare(\stdClass $step, ?\stdClass $call, array $result): void
    {
        $budgetMs = $call->budget_ms ?? null;
        if (is_int($budgetMs)) {
            Assert::assertLessThan(max(0, $budgetMs) + self::OVER_MS, $result['took_ms']);
        }
        $expected = (array) Vectors::valueOf($step->expect_php ?? $step->expect);
        if (isset($expected['byte'])) {
            Assert::assertStringContainsString("byte {$expected['byte']} ", $result['message'] ?? '');
        }
        unset($expected['byte'], $result['took_ms'], $result['message']);
        if ($expected === ['id' => '$any']) {
            $this->names[$step->keep] = $result['id'];
            return;
        }
        Assert::assertSame($expected, $result, json_encode($step, JSON_INVALID_UTF8_SUBSTITUTE) ?: '');
    }
}
