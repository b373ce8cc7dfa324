<?php

// A request that ends and leaves answers unread in its persistent connection, one of them a whole
// reply to a question of somebody else. No request of the client's can be ended there at will, so
// this one does it by a command that is answered twice.

declare(strict_types=1);

require __DIR__ . '/../../php_client/examples/page.php';

unset($client); // its connection is the one that is taken next
http_response_code(202);
$redis = $connect();
$redis->rawCommand('SUBSCRIBE', 'one', 'two');
$redis->rawCommand('UNSUBSCRIBE', 'one', 'two');
$redis->rawCommand('SELECT', '0'); // its OK will look as if the next request's password were right
$redis->rawCommand('LINDEX', 'resident:reply:cut-off', '0');
