<?php

// The server URL of a WeChat Official Account (plain-text mode): answers its text messages.
//
// WeChat waits five seconds, hangs up and delivers the message again, three times in all; what is
// answered to a delivery that is still open reaches the user. So each delivery waits for the same
// question, and one that got no answer says nothing until WeChat has hung up: an empty body or
// `success` would mean that WeChat need not come again.

declare(strict_types=1);

use Resident\Client;
use Resident\ErrorCode;
use Resident\Exception\ResidentException;

require __DIR__ . '/../autoload.php';

$token = getenv('WECHAT_TOKEN') ?: '';            // of the account's settings
$task = getenv('WECHAT_TASK') ?: 'faq';
$waitMs = (int) (getenv('WECHAT_WAIT_MS') ?: 4_500);

header('Content-Type: text/plain; charset=utf-8');
$sent = static fn (string $name): string => is_string($_GET[$name] ?? null) ? $_GET[$name] : '';
$signed = [$token, $sent('timestamp'), $sent('nonce')];
sort($signed, SORT_STRING);
$isSigned = $token !== '' && hash_equals(sha1(implode($signed)), $sent('signature'));
// The signature is of no message, and stands in the URL: whoever reads it in a log may not use it for long.
if (!$isSigned || abs(time() - (int) $sent('timestamp')) > 300) {
    error_log('refused: ' . match (true) {
        $token === '' => 'WECHAT_TOKEN is not set',
        $isSigned => 'a time stamp that is not of these five minutes; is the clock of this machine right?',
        default => 'a signature of another token than WECHAT_TOKEN',
    });
    http_response_code(403);
    exit;
}
if ($_SERVER['REQUEST_METHOD'] === 'GET') {       // when the URL is entered
    exit($sent('echostr'));
}

$message = array_fill_keys(['MsgType', 'MsgId', 'FromUserName', 'ToUserName', 'CreateTime', 'Content'], '');
$field = '~<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>~s';
preg_match_all($field, (string) file_get_contents('php://input'), $found, PREG_SET_ORDER);
foreach ($found as $one) {
    $message[$one[1]] = $one[3] ?? $one[2];
}
if ($message['MsgType'] !== 'text' || !ctype_digit($message['MsgId'])) {
    exit('success');                              // nothing to answer
}

$id = "wx-{$message['MsgId']}";                   // the same in every delivery
try {
    $client = new Client(getenv('RESIDENT_REDIS_URL') ?: 'redis://127.0.0.1:6379/0');
    $client->submit($task, $message['Content'], 14_000, $id);
    $text = (string) $client->wait($id, $waitMs);
} catch (ResidentException $error) {
    $isLast = $_SERVER['REQUEST_TIME'] - (int) $message['CreateTime'] >= 8; // the third comes after ten
    if ($error->code() === ErrorCode::Expired && !$isLast) {
        sleep(1);                                 // until WeChat has hung up
        http_response_code(503);
        exit;
    }
    error_log("$id: {$error->code()->value}: {$error->getMessage()}");
    $text = '抱歉，现在无法回答，请稍后再问一次。';
}

if (strlen($text) > 2048) {                       // WeChat takes no more
    $text = preg_replace('/[\xC0-\xFF][\x80-\xBF]*\z/', '', substr($text, 0, 2048));
}
header('Content-Type: application/xml; charset=utf-8');
printf(
    '<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName>'
        . '<CreateTime>%d</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content></xml>',
    ...str_replace(']]>', ']] >', [$message['FromUserName'], $message['ToUserName'], time(), $text])
);
