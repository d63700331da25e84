-- Sends wrk's requests to the hosts that are its arguments, one after the other.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

local requests, count, current = {}, 0, 0

function init(hosts)
  for i, host in ipairs(hosts) do
    wrk.headers["Host"] = host
    requests[i] = wrk.format()
    count = i
  end
  current = math.random(count) -- wrk's threads start with different hosts
end

function request()
  current = current % count + 1
  return requests[current]
end
