-- Makes wrk print its result as one line of JSON, the last line of its output (latencies in
-- microseconds). There is no request() or response(), which would cost wrk time per request.
function done(summary, latency, requests)
  local e = summary.errors
  local form = '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "failed": %d}\n'
  io.write(string.format(form, summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.timeout + e.status))
end
