<?php

declare(strict_types=1);

namespace Resident\Tests\Contract;

use PHPUnit\Framework\TestCase;
use Resident\Exception\ConfigurationError;
use Resident\Options;
use Resident\Tests\Support\Vectors;

/**
 * Callers' settings, which Python reads too and refuses in the same words.
 */
final class SettingsTest extends TestCase
{
    private string|false $before;
    private string $variable;

    protected function tearDown(): void
    {
        $this->set($this->before);
    }

    /**
     * @dataProvider defaults
     */
    public function testTheDefault(\stdClass $case): void
    {
        $this->take($case, false);
        self::assertSame($case->value, (new Options())->{$case->option});
    }

    /**
     * @dataProvider taken
     */
    public function testWhatIsTaken(\stdClass $case): void
    {
        $this->take($case, $case->text);
        self::assertSame($case->value, (new Options())->{$case->option});
    }

    /**
     * @dataProvider refused
     */
    public function testWhatIsRefused(\stdClass $case): void
    {
        $this->take($case, $case->text);
        try {
            new Options();
            self::fail('It was taken');
        } catch (ConfigurationError $error) {
            self::assertSame($case->message, $error->getMessage());
        }
    }

    /**
     * @dataProvider defaults
     */
    public function testWhatIsGivenGoesBeforeTheVariable(\stdClass $case): void
    {
        $this->take($case, 'wrong');
        self::assertSame($case->value, (new Options(...[$case->option => $case->value]))->{$case->option});
    }

    public static function defaults(): iterable
    {
        return Vectors::cases('settings', 'defaults', 'setting');
    }

    public static function taken(): iterable
    {
        return Vectors::cases('settings', 'taken');
    }

    public static function refused(): iterable
    {
        return Vectors::cases('settings', 'refused');
    }

    private function take(\stdClass $case, string|false $text): void
    {
        $this->variable = 'RESIDENT_' . strtoupper($case->setting);
        $this->before = getenv($this->variable);
        $this->set($text);
    }

    private function set(string|false $text): void
    {
        putenv($text === false ? $this->variable : "$this->variable=$text");
    }
}
