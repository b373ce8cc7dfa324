<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Client;
use Resident\Exception\TransportError;
use Resident\Exception\TryAgain;
use Resident\Tests\Support\Server;

/**
 * A call ends within its budget and 50 ms, whatever Redis does.
 */
final class BudgetsTest extends TestCase
{
    private const BUDGET_MS = 300;
    /**
     * Over the budget; what a machine that has other things to do may add is much more than ours.
     */
    private const OVER_MS = 50 + 250;

    /**
     * @dataProvider brokenCalls
     */
    public function testARedisThatBreaksIsATransportErrorWithinTheBudget(string $variable, string $call): void
    {
        $url = getenv($variable);
        if ($variable === 'RESIDENT_REPLY_BREAKS_URL' && $call === 'submit') {
            self::assertNotSame('', self::call($call, new Client($url)), 'it waits for no reply');
            return;
        }
        $startNs = hrtime(true);
        try {
            self::call($call, new Client($url));
            self::fail('It was answered');
        } catch (TransportError) {
            self::assertLessThan(self::BUDGET_MS + self::OVER_MS, (hrtime(true) - $startNs) / 1e6);
        }
    }

    public static function brokenCalls(): iterable
    {
        foreach (['RESIDENT_SILENT_URL', 'RESIDENT_ASK_BREAKS_URL', 'RESIDENT_REPLY_BREAKS_URL'] as $variable) {
            foreach (['ask', 'ask with an id', 'submit', 'wait', 'askMany'] as $call) {
                yield "$call, $variable" => [$variable, $call];
            }
        }
    }

    /**
     * @testWith [60]
     *           [150]
     *           [400]
     */
    public function testWhatNobodyAnswersExpiresInTimeAndNotBefore(int $budgetMs): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $client = new Client($server->url);
        foreach (['own', null] as $id) {
            $startNs = hrtime(true);
            try {
                $client->ask('faq', 'x', $budgetMs, $id);
                self::fail('It was answered');
            } catch (TryAgain $error) {
                self::assertSame(TryAgain::class, $error::class, $error->getMessage());
                $tookMs = (hrtime(true) - $startNs) / 1e6;
                self::assertGreaterThanOrEqual($budgetMs, $tookMs);
                self::assertLessThan($budgetMs + self::OVER_MS, $tookMs);
            }
        }
    }

    private static function call(string $call, Client $client): mixed
    {
        return match ($call) {
            'ask' => $client->ask('faq', 'x', self::BUDGET_MS),
            'ask with an id' => $client->ask('faq', 'x', self::BUDGET_MS, 'own'),
            'submit' => $client->submit('faq', 'x', self::BUDGET_MS),
            'wait' => $client->wait('own', self::BUDGET_MS),
            'askMany' => throw $client->askMany('faq', ['a', 'b'], self::BUDGET_MS)[1],
        };
    }
}
