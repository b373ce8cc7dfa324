<?php

declare(strict_types=1);

namespace Resident\Tests\Contract;

use PHPUnit\Framework\TestCase;
use Resident\Deadline;
use Resident\Exception\CallerError;
use Resident\Tests\Support\Vectors;
use Resident\Wire\JobData;
use Resident\Wire\Names;

final class JobsTest extends TestCase
{
    /**
     * @dataProvider validQuestions
     */
    public function testAQuestionBecomesExactlyTheseBytes(\stdClass $case): void
    {
        self::assertSame(Vectors::valueOf($case->data), self::encode($case));
    }

    /**
     * @dataProvider invalidQuestions
     */
    public function testAMalformedQuestionIsRefused(\stdClass $case): void
    {
        $error = self::refusalOf(static fn () => self::encode($case));
        self::assertSame($case->code, $error->code()->value);
        if (isset($case->first_bad_byte)) {
            self::assertStringContainsString("byte $case->first_bad_byte ", $error->getMessage());
        }
    }

    /**
     * @dataProvider validTasks
     */
    public function testALegalTaskNameIsTaken(string $task): void
    {
        self::assertSame($task, Names::checkTask($task));
    }

    /**
     * @dataProvider invalidTasks
     */
    public function testANameThatNoTaskCanHaveIsRefused(\stdClass $case): void
    {
        $error = self::refusalOf(static fn () => Names::checkTask(Vectors::valueOf($case->task)));
        self::assertSame($case->code, $error->code()->value);
        self::assertSame(1, preg_match('//u', $error->getMessage()), 'the message is UTF-8');
    }

    /**
     * @dataProvider validIds
     */
    public function testALegalIdIsTaken(string $id): void
    {
        self::assertSame($id, Names::checkId($id));
    }

    /**
     * @dataProvider invalidIds
     */
    public function testAnIdThatIsNoneIsRefused(\stdClass $case): void
    {
        $error = self::refusalOf(static fn () => Names::checkId(Vectors::valueOf($case->id)));
        self::assertSame($case->code, $error->code()->value);
        self::assertSame(1, preg_match('//u', $error->getMessage()), 'the message is UTF-8');
    }

    /**
     * @dataProvider validBudgets
     */
    public function testABudgetFromAMillisecondToADayIsTaken(int $budgetMs): void
    {
        self::assertLessThanOrEqual($budgetMs, Deadline::in($budgetMs)->leftMs());
    }

    /**
     * @dataProvider invalidBudgets
     */
    public function testABudgetOutsideItsRangeIsRefused(\stdClass $case): void
    {
        $error = self::refusalOf(static fn () => Deadline::in($case->budget_ms));
        self::assertSame($case->code, $error->code()->value);
    }

    public static function validQuestions(): iterable
    {
        return Vectors::cases('jobs', 'valid');
    }

    public static function invalidQuestions(): iterable
    {
        return Vectors::cases('jobs', 'invalid_questions');
    }

    public static function validTasks(): iterable
    {
        return Vectors::values('jobs', 'valid_tasks');
    }

    public static function invalidTasks(): iterable
    {
        return Vectors::cases('jobs', 'invalid_tasks');
    }

    public static function validIds(): iterable
    {
        return Vectors::values('jobs', 'valid_ids');
    }

    public static function invalidIds(): iterable
    {
        return Vectors::cases('jobs', 'invalid_ids');
    }

    public static function validBudgets(): iterable
    {
        return Vectors::values('jobs', 'valid_budgets');
    }

    public static function invalidBudgets(): iterable
    {
        return Vectors::cases('jobs', 'invalid_budgets', 'budget_ms');
    }

    private static function encode(\stdClass $case): string
    {
        $limit = $case->max_question_bytes ?? Vectors::read('jobs')->max_question_bytes;
        return JobData::encode($case->task ?? 'echo', Vectors::valueOf($case->question), $limit);
    }

    private static function refusalOf(\Closure $check): CallerError
    {
        try {
            $check();
        } catch (CallerError $error) {
            return $error;
        }
        self::fail('It was taken');
    }
}
