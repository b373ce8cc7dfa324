<?php

declare(strict_types=1);

namespace Resident;

/**
 * Every Redis key that the client names; resident/keys.py says what each of them is.
 *
 * @internal
 */
final class Keys
{
    /**
     * The tasks that ready workers serve, each with the end of its announcement.
     */
    public static function tasks(string $prefix): string
    {
        return self::own($prefix) . ':tasks';
    }

    public static function reply(string $id): string
    {
        return "resident:reply:$id";
    }

    public static function reading(string $id): string
    {
        return "resident:reading:$id";
    }

    /**
     * The list to which the replies to many questions of one caller go.
     *
     * @param string $token 32 hex digits that no other caller has.
     */
    public static function mailbox(string $token): string
    {
        return "resident:mailbox:$token";
    }

    public static function job(string $prefix, string $id): string
    {
        return "$prefix:job:$id";
    }

    /**
     * KEYS of ask.lua, in its order.
     *
     * @return list<string>
     */
    public static function ofAsk(string $prefix, string $task, string $id): array
    {
        return [
            self::job($prefix, $id),
            "$prefix:queue:$task",
            self::own($prefix) . ":task:$task",
        ];
    }

    /**
     * KEYS of cancel.lua, in its order.
     *
     * @return list<string>
     */
    public static function ofCancel(string $prefix, string $id): array
    {
        return [self::job($prefix, $id), self::reply($id), "resident:cancelled:$id"];
    }

    /**
     * In front of Resident's own keys that are about a task.
     */
    public static function own(string $prefix): string
    {
        return $prefix === 'rq' ? 'resident' : "$prefix:resident";
    }
}
