-- Who is in which room, for all servers together. Each call is atomic. What comes of it is written
-- into the inboxes of the servers concerned, the caller's too, so all see one order of changes.
--
-- KEYS[1] is what the names of all keys begin with:
--   :servers           sorted set of servers, by when their leases end (ms of Redis' clock)
--   :inbox:<server>    stream of what the server has to know
--   :room:<room>       hash: client -> "<server> <number of the call by which it has joined>"
--   :members:<server>  hash: client -> room
--   :last:<process>    number of the last call of a process, which has one name after another
--   :late:<server>     there is not yet a whole lease in which its beats have come in time
-- ARGV: command, calling server, number of its call, how long keys are kept (ms), and what the
-- command takes. The reply is OK, or FENCED if the caller is not one of the servers.
local prefix, command, me, number, ttl = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local call = redis.call
local servers, late = prefix .. ':servers', prefix .. ':late:' .. me
local function inbox(server) return prefix .. ':inbox:' .. server end
local function clients(room) return prefix .. ':room:' .. room end
local function members(server) return prefix .. ':members:' .. server end
local function process(server) return string.match(server, '^%w+') end
local function keep(...)
  for _, key in ipairs({...}) do call('PEXPIRE', key, ttl) end
end
local function tell(list, ...)
  for _, server in ipairs(list) do call('XADD', inbox(server), 'NOMKSTREAM', '*', ...) end
end
local function remove(server)  -- with all its members; the others know who they are
  call('ZREM', servers, server)
  local rooms = call('HGETALL', members(server))
  for i = 1, #rooms, 2 do
    local client, room = rooms[i], clients(rooms[i + 1])
    if string.match(call('HGET', room, client) or '', '^%S+') == server then call('HDEL', room, client) end
  end
  call('DEL', members(server), inbox(server))
  tell(call('ZRANGE', servers, 0, -1), 'e', 'gone', 's', server)
end

-- A call that is sent again, or comes late, has no larger number than the last one.
local last = prefix .. ':last:' .. process(me)
local first = number > tonumber(call('GET', last) or 0)
if first then call('SET', last, number, 'PX', ttl) end

if command == 'enter' and first then  -- in place of its former self; its inbox is there from now on
  for _, server in ipairs(call('ZRANGE', servers, 0, -1)) do
    if process(server) == process(me) then remove(server) end
  end
  call('ZADD', servers, 0, me)
  call('XADD', inbox(me), '*', 'e', 'entered')
end
local lease_end = call('ZSCORE', servers, me)
if not lease_end then return 'FENCED' end

if command == 'enter' or command == 'beat' then  -- lease (ms), longest inbox, last entry read
  local clock, lease = call('TIME'), tonumber(ARGV[5])
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  call('XTRIM', inbox(me), 'MINID', ARGV[7])
  if call('XLEN', inbox(me)) > tonumber(ARGV[6]) then
    remove(me)
    return 'FENCED'
  end
  call('ZADD', servers, now + lease, me)
  if call('PTTL', inbox(me)) < ttl / 2 then
    keep(servers, inbox(me), members(me))
    for _, room in ipairs(call('HVALS', members(me))) do keep(clients(room)) end
  end
  -- Redis may have stood still, or the network. Then all beats are late, and nobody is dead.
  if not first or lease_end - now < lease / 3 then call('SET', late, '', 'PX', lease) end
  if call('EXISTS', late) == 0 then
    local dead = call('ZRANGEBYSCORE', servers, '-inf', string.format('(%.0f', now))
    for _, server in ipairs(dead) do remove(server) end
  end
end
if not first then return 'OK' end

-- Returns the other servers with members in the room, and those members as lines, unless there are
-- some of the caller's: then it knows the others.
local function others(room)
  local list, seen, lines, known = {}, {[me] = true}, {}, false
  local all = call('HGETALL', clients(room))
  for i = 1, #all, 2 do
    local server = string.match(all[i + 1], '^%S+')
    known = known or server == me
    lines[#lines + 1] = all[i] .. ' ' .. all[i + 1]
    if not seen[server] then
      seen[server] = true
      list[#list + 1] = server
    end
  end
  return list, not known and table.concat(lines, '\n')
end
local function leave(client)
  local room = call('HGET', members(me), client)
  if not room then return end
  call('HDEL', clients(room), client)
  call('HDEL', members(me), client)
  local list, was_last = others(room)
  list[#list + 1] = me
  tell(list, 'e', 'left', 'c', client, 's', me)
  if was_last then tell({me}, 'e', 'deserted', 'r', room) end
end

if command == 'join' then  -- room, client, how many a room may have (0: any number)
  local room, client, most, seq = ARGV[5], ARGV[6], tonumber(ARGV[7]), number
  local list, unknown = others(room)
  if call('HGET', members(me), client) == room then
    seq = string.match(call('HGET', clients(room), client), '%S+$')
  elseif most > 0 and call('HLEN', clients(room)) >= most then
    tell({me}, 'e', 'full', 'c', client, 'n', number)
    return 'OK'
  else
    leave(client)
    call('HSET', clients(room), client, me .. ' ' .. seq)
    call('HSET', members(me), client, room)
    keep(clients(room), members(me))
  end
  tell(list, 'e', 'new', 'r', room, 'c', client, 's', me, 'q', seq)
  tell({me}, 'e', 'joined', 'r', room, 'c', client, 'q', seq, 'n', number, 'o', unknown or '')
elseif command == 'leave' then  -- client
  leave(ARGV[5])
elseif command == 'bye' then
  remove(me)
end
return 'OK'
