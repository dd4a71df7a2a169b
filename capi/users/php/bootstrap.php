<?php declare(strict_types=1);

// A bootstrap in PHP. Its function returns the event; "fail" and "exit" show the rest.
require __DIR__ . '/LambdaRuntime.php';

$runtime = new LambdaRuntime();
while (true) {
    $runtime->processEvent(function (mixed $event, array $context): mixed {
        if ($event === 'fail') {
            throw new DomainException('the event asks for it');
        }
        if ($event === 'exit') {
            exit(3);
        }
        return $event;
    });
}
