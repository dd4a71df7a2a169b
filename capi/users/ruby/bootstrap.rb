# frozen_string_literal: true

# A bootstrap in Ruby. Its function returns the event; "fail" and "exit" show the rest.
require_relative 'rapid_client'

def handle(event)
  raise ArgumentError, 'the event asks for it' if event == '"fail"'

  exit!(3) if event == '"exit"'
  event
end

client = RapidClient.new
loop do
  request_id, event = client.next_invocation
  begin
    client.send_response(request_id: request_id, response_object: handle(event))
  rescue RapidClient::Ended
    raise
  rescue StandardError => e
    client.send_error_response(request_id: request_id, error_object: nil, error: e)
  end
end
