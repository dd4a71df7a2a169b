# frozen_string_literal: true

require 'fiddle/import'

# A client of the Runtime API over liblambda_proto, in the manner of the class of this name in AWS's
# runtime for Ruby.
class RapidClient
  # The session cannot continue: the process exits with a code other than 0.
  class Ended < StandardError; end

  PREFIX = ENV.fetch('LAMBDA_PROTO_PREFIX', '/usr/local')
  ABI_VERSION = 1
  PHASE = -6
  INTERRUPTED = -21
  # ENDED, UNREACHABLE, SYSTEM
  OVER = (-19..-17)
  REQUEST_ID = 1

  # The functions of the library.
  module Lib
    extend Fiddle::Importer
    dlload "#{PREFIX}/lib/liblambda_proto.so.1"
    typealias 'int32_t', 'int'
    extern 'int32_t lambda_proto_abi_version()'
    raise LoadError, 'liblambda_proto.so.1 has another version' unless lambda_proto_abi_version == ABI_VERSION

    extern 'const char *lambda_proto_error_text(int32_t)'
    extern 'int32_t lambda_proto_runtime_open(void *, void *, size_t, void *, size_t, size_t)'
    extern 'int32_t lambda_proto_runtime_next(void *, void *, void *)'
    extern 'void *lambda_proto_runtime_client(void *)'
    extern 'int32_t lambda_proto_client_field(void *, int32_t, void *, void *)'
    extern 'int32_t lambda_proto_runtime_respond(void *, void *, size_t, void *, size_t, int32_t)'
    report = 'void *, void *, size_t, void *, size_t, void *, size_t, void *, size_t'
    extern "int32_t lambda_proto_runtime_fail(#{report})"
    extern "int32_t lambda_proto_runtime_fail_init(#{report})"
  end

  def initialize(user_agent = nil)
    # Two words, for what the functions write.
    @out = Fiddle::Pointer.malloc(2 * Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE)
    check(Lib.lambda_proto_runtime_open(@out, nil, 0, *text(user_agent), 1))
    @runtime = @out.ptr
  end

  # Waits for the next invocation; returns its request id and the event.
  def next_invocation
    code = INTERRUPTED
    # Between two calls Ruby runs its signal handlers.
    code = Lib.lambda_proto_runtime_next(@runtime, @out, @out + Fiddle::SIZEOF_VOIDP) while code == INTERRUPTED
    check(code)
    event = written
    client = Lib.lambda_proto_runtime_client(@runtime)
    check(Lib.lambda_proto_client_field(client, REQUEST_ID, @out, @out + Fiddle::SIZEOF_VOIDP))
    [written.force_encoding(Encoding::UTF_8), event]
  end

  def send_response(request_id:, response_object:, content_type: 'application/json')
    check(Lib.lambda_proto_runtime_respond(@runtime, *text(content_type), *text(response_object), 0))
  end

  def send_error_response(request_id:, error_object:, error:, xray_cause: nil)
    code = Lib.lambda_proto_runtime_fail(@runtime, *report(error), *text(xray_cause))
    # The function may have answered before it failed.
    check(code) unless code == PHASE
  end

  def send_init_error(error_object:, error:)
    check(Lib.lambda_proto_runtime_fail_init(@runtime, *report(error), nil, 0))
  end

  private

  def report(error)
    [error.class.name, error.message, error.backtrace.to_a.join("\n")].flat_map { |part| text(part) }
  end

  # Fiddle would take a number for an address.
  def text(value)
    return [nil, 0] if value.nil?

    string = value.to_s
    [string, string.bytesize]
  end

  # A copy of the bytes to which the words point.
  def written
    address, length = @out[0, 2 * Fiddle::SIZEOF_VOIDP].unpack('J2')
    length.zero? ? +'' : Fiddle::Pointer.new(address)[0, length]
  end

  def check(code)
    return unless code.negative?

    raise OVER.cover?(code) ? Ended : ArgumentError, Lib.lambda_proto_error_text(code).to_s
  end
end
