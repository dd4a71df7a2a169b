<?php declare(strict_types=1);

/**
 * A Lambda runtime for PHP over liblambda_proto, in the manner of bref's class of this name: its methods
 * have other parameters and results.
 */
final class LambdaRuntime
{
    private FFI $lib;
    private FFI\CData $runtime;

    public function __construct(?string $prefix = null)
    {
        $prefix ??= getenv('LAMBDA_PROTO_PREFIX') ?: '/usr/local';
        $cdef = file_get_contents("$prefix/share/lambda_proto/lambda_proto.cdef");
        $this->lib = FFI::cdef($cdef, "$prefix/lib/liblambda_proto.so.1");
        if ($this->lib->lambda_proto_abi_version() !== $this->lib->LAMBDA_PROTO_ABI_VERSION) {
            throw new LambdaRuntimeEnded('liblambda_proto.so.1 and lambda_proto.cdef are of different versions');
        }
        $this->runtime = $this->lib->new('lambda_proto_runtime *');
        $this->check($this->lib->lambda_proto_runtime_open(FFI::addr($this->runtime), null, 0, null, 0, 1));
    }

    /** Waits for the next event, decoded, and calls the handler with it and its context. */
    public function processEvent(callable $handler): void
    {
        try {
            [$event, $context] = $this->waitNextInvocation();
            $result = $handler(json_decode($event, true, 512, JSON_THROW_ON_ERROR), $context);
            $this->postJson(json_encode($result, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES));
        } catch (LambdaRuntimeEnded $ended) {
            throw $ended;
        } catch (Throwable $error) {
            $this->signalFailure($error);
        }
    }

    /** @return array{string, array{requestId: string, deadlineMs: int, traceId: string}} */
    public function waitNextInvocation(): array
    {
        [$data, $length] = [$this->lib->new('uint8_t *'), $this->lib->new('size_t')];
        do {
            // Between two calls PHP runs its signal handlers.
            $code = $this->lib->lambda_proto_runtime_next($this->runtime, FFI::addr($data), FFI::addr($length));
        } while ($code === $this->lib->LAMBDA_PROTO_ERROR_INTERRUPTED);
        $this->check($code);
        $event = $length->cdata > 0 ? FFI::string($data, $length->cdata) : '';
        $deadline = $this->lib->new('uint64_t');
        $client = $this->lib->lambda_proto_runtime_client($this->runtime);
        $this->check($this->lib->lambda_proto_client_deadline_ms($client, FFI::addr($deadline)));
        return [$event, [
            'requestId' => $this->field($client, $this->lib->LAMBDA_PROTO_FIELD_REQUEST_ID),
            'deadlineMs' => $deadline->cdata,
            'traceId' => $this->field($client, $this->lib->LAMBDA_PROTO_FIELD_TRACE_ID),
        ]];
    }

    public function postJson(string $json): void
    {
        $type = 'application/json';
        $this->check($this->lib->lambda_proto_runtime_respond(
            $this->runtime, $type, strlen($type), $json, strlen($json), 0));
    }

    public function signalFailure(Throwable $error): void
    {
        $code = $this->lib->lambda_proto_runtime_fail($this->runtime, ...self::report($error));
        // The handler may have answered before it failed.
        if ($code !== $this->lib->LAMBDA_PROTO_ERROR_PHASE) {
            $this->check($code);
        }
    }

    /** Reports that the function could not start. The process exits after it. */
    public function failInitialization(Throwable $error): void
    {
        $this->check($this->lib->lambda_proto_runtime_fail_init($this->runtime, ...self::report($error)));
    }

    private static function report(Throwable $error): array
    {
        [$type, $text, $trace] = [get_class($error), $error->getMessage(), $error->getTraceAsString()];
        return [$type, strlen($type), $text, strlen($text), $trace, strlen($trace), null, 0];
    }

    private function field(FFI\CData $client, int $field): string
    {
        [$text, $length] = [$this->lib->new('char *'), $this->lib->new('size_t')];
        $this->check($this->lib->lambda_proto_client_field($client, $field, FFI::addr($text), FFI::addr($length)));
        return $length->cdata > 0 ? FFI::string($text, $length->cdata) : '';
    }

    private function check(int $code): void
    {
        if ($code < 0) {
            throw new LambdaRuntimeEnded($this->lib->lambda_proto_error_text($code));
        }
    }

    public function __destruct()
    {
        if (isset($this->runtime)) {
            $this->lib->lambda_proto_runtime_close($this->runtime);
        }
    }
}

/** The session cannot continue: the process exits with a code other than 0. */
final class LambdaRuntimeEnded extends RuntimeException
{
}
