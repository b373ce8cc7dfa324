<?php

declare(strict_types=1);

namespace Resident\Tests\Integration;

use PHPUnit\Framework\TestCase;
use Resident\Tests\Support\Program;
use Resident\Tests\Support\Server;
use Resident\Tests\Support\Wait;

/**
 * examples/wechat.php behind PHP's own web server.
 */
final class WechatTest extends TestCase
{
    private const TOKEN = 'a token';

    private string $address;
    private Program $site;

    public function testWhatIsNotSignedIsRefused(): void
    {
        $this->serve(Server::spare(), 'faq');
        self::assertSame([403, ''], $this->deliver('hello', '1', signature: sha1('another')));
    }

    public function testASignatureOfHalfAnHourAgoIsRefused(): void
    {
        $this->serve(Server::spare(), 'faq');
        [$status] = $this->request('GET', $this->query(at: time() - 1800) . '&echostr=8127');
        self::assertSame(403, $status);
    }

    public function testTheUrlIsConfirmedWithTheTextThatWeChatSent(): void
    {
        $this->serve(Server::spare(), 'faq');
        self::assertSame([200, '8127'], $this->request('GET', $this->query() . '&echostr=8127'));
    }

    public function testATextMessageIsAnswered(): void
    {
        $this->serve(Server::served(), 'echo');
        [$status, $body] = $this->deliver('几点开门？<b>', random_int(1, PHP_INT_MAX));
        self::assertSame(200, $status);
        self::assertStringContainsString('<Content><![CDATA[几点开门？<b>]]></Content>', $body);
        self::assertStringContainsString('<ToUserName><![CDATA[a-user]]></ToUserName>', $body);
    }

    public function testALongAnswerIsCutToWhatWeChatTakes(): void
    {
        $this->serve(Server::served(), 'echo');
        [, $body] = $this->deliver(str_repeat('开', 700), random_int(1, PHP_INT_MAX));
        self::assertStringContainsString('[CDATA[' . str_repeat('开', 682) . ']]', $body);
    }

    public function testWhatIsNoTextIsTakenWithoutAnAnswer(): void
    {
        $this->serve(Server::spare(), 'faq');
        self::assertSame([200, 'success'], $this->deliver('', '2', 'event'));
    }

    public function testTheNextDeliveryHasTheAnswerThatTheFirstWaitedForInVain(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $this->serve($server, 'faq');
        self::assertSame([503, ''], $this->deliver('hello', '3'), 'neither empty nor success');
        self::assertSame(['wx-3'], $server->redis->lRange('rq:queue:faq', 0, -1));
        $server->reply('wx-3', 'at last');
        [$status, $body] = $this->deliver('hello', '3');
        self::assertSame(200, $status);
        self::assertStringContainsString('[CDATA[at last]]', $body);
        self::assertSame(1, $server->redis->lLen('rq:queue:faq'), 'it was asked once');
    }

    public function testTheLastDeliveryAsksForPatience(): void
    {
        $server = Server::spare();
        $server->announce('faq');
        $this->serve($server, 'faq');
        [$status, $body] = $this->deliver('hello', '4', age: 10);
        self::assertSame(200, $status);
        self::assertStringContainsString('请稍后再问一次', $body);
    }

    private function serve(Server $server, string $task): void
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $this->address = stream_socket_get_name($listener, false);
        fclose($listener);
        $this->site = new Program(['-S', $this->address, 'php_client/examples/wechat.php'], [
            'RESIDENT_REDIS_URL' => $server->url,
            'WECHAT_TOKEN' => self::TOKEN,
            'WECHAT_TASK' => $task,
            'WECHAT_WAIT_MS' => '200',
        ]);
        Wait::until(fn (): bool => is_resource(@stream_socket_client("tcp://$this->address")));
    }

    private function query(?string $signature = null, ?int $at = null): string
    {
        $at ??= time();
        $signed = [self::TOKEN, (string) $at, '12345'];
        sort($signed, SORT_STRING);
        $signature ??= sha1(implode($signed));
        return "?timestamp=$at&nonce=12345&signature=$signature";
    }

    /**
     * @return array{int, string} The status and the body.
     */
    private function deliver(
        string $text,
        int|string $messageId,
        string $type = 'text',
        int $age = 0,
        ?string $signature = null,
    ): array {
        $created = time() - $age;
        return $this->request('POST', $this->query($signature), "<xml><ToUserName><![CDATA[an-account]]></ToUserName>"
            . "\n<FromUserName><![CDATA[a-user]]></FromUserName>\n<CreateTime>$created</CreateTime>"
            . "<MsgType><![CDATA[$type]]></MsgType><Content><![CDATA[$text]]></Content>"
            . "<MsgId>$messageId</MsgId></xml>");
    }

    /**
     * @return array{int, string}
     */
    private function request(string $method, string $query, string $body = ''): array
    {
        $header = 'Content-Type: text/xml';
        $http = ['method' => $method, 'header' => $header, 'content' => $body, 'ignore_errors' => true];
        $context = stream_context_create(['http' => $http + ['timeout' => 10]]);
        $answer = (string) file_get_contents("http://$this->address/$query", false, $context);
        return [(int) explode(' ', $http_response_header[0])[1], $answer];
    }
}
