-- Who is in which room, for all servers together. Each call is atomic. What comes of it is written
-- into the inboxes of the servers concerned, the caller's too, so all see one order of changes.
--
-- KEYS[1] is what the names of all keys begin with:
--   :servers           sorted set of servers, by when their leases end (ms of Redis' clock)
--   :last              hash: server -> number of its last call that was carried out
--   :seq               number of the last membership
--   :inbox:<server>    stream of what the server has to know
--   :room:<room>       hash: client -> "<server> <number of the membership>"
--   :members:<server>  hash: client -> room
--   :left:<server>     there is no such server any more: it has another name
-- ARGV: command, calling server, number of its call, how long keys are kept (ms), and what the
-- command takes. The reply is OK, or FENCED if the caller is not one of the servers.
local prefix, command, me, number, ttl = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local call = redis.call
local servers, last, memberships = prefix .. ':servers', prefix .. ':last', prefix .. ':seq'
local function inbox(server) return prefix .. ':inbox:' .. server end
local function clients(room) return prefix .. ':room:' .. room end
local function members(server) return prefix .. ':members:' .. server end
local function left(server) return prefix .. ':left:' .. server end
local function keep(...)
  for _, key in ipairs({...}) do call('PEXPIRE', key, ttl) end
end
local function tell(list, ...)
  for _, server in ipairs(list) do call('XADD', inbox(server), 'NOMKSTREAM', '*', ...) end
end
local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function remove(server)  -- with all its members; the others know who they are
  call('ZREM', servers, server)
  call('HDEL', last, server)
  local rooms = call('HGETALL', members(server))
  for i = 1, #rooms, 2 do
    local client, room = rooms[i], clients(rooms[i + 1])
    if string.match(call('HGET', room, client) or '', '^%S+') == server then call('HDEL', room, client) end
  end
  call('DEL', members(server), inbox(server))
  tell(call('ZRANGE', servers, 0, -1), 'e', 'gone', 's', server)
end

if command == 'enter' then  -- lease (ms), the caller's former names
  if call('ZSCORE', servers, me) then return 'OK' end  -- Its joins must not be done again.
  if call('EXISTS', left(me)) == 1 then return 'FENCED' end  -- A call that comes late.
  for i = 6, #ARGV do
    call('SET', left(ARGV[i]), '', 'PX', ttl)
    if call('ZSCORE', servers, ARGV[i]) then remove(ARGV[i]) end
  end
  call('ZADD', servers, now() + ARGV[5], me)
  call('HSET', last, me, number)
  call('XADD', inbox(me), '*', 'e', 'entered')
  keep(servers, last, inbox(me))
  return 'OK'
end
local done = call('HGET', last, me)
if not done then return 'FENCED' end
if command == 'beat' then  -- lease (ms), longest inbox, whether to look for servers that are dead
  if call('XLEN', inbox(me)) > tonumber(ARGV[6]) then
    remove(me)
    return 'FENCED'
  end
  local time, mine = now(), tonumber(call('ZSCORE', servers, me))
  call('ZADD', servers, time + ARGV[5], me)
  keep(servers, last, memberships, inbox(me), members(me))
  local again = number <= tonumber(done)
  if not again then call('HSET', last, me, number) end
  -- It may be Redis that stood still, if the caller's lease is over too, or if it says this again.
  if ARGV[7] == '1' and mine >= time and not again then
    local before = '(' .. string.format('%.0f', time)
    for _, server in ipairs(call('ZRANGEBYSCORE', servers, '-inf', before)) do remove(server) end
  end
  return 'OK'
end

if number <= tonumber(done) then return 'OK' end  -- The caller has not seen the reply.
call('HSET', last, me, number)

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
local function membership(room, client)
  return string.match(call('HGET', clients(room), client), '%S+$')
end
local function leave(client)
  local room = call('HGET', members(me), client)
  if not room then return end
  local seq = membership(room, client)
  call('HDEL', clients(room), client)
  call('HDEL', members(me), client)
  local list = others(room)
  list[#list + 1] = me
  tell(list, 'e', 'left', 'r', room, 'c', client, 's', me, 'q', seq)
end

if command == 'join' then  -- room, client, how many a room may have (0: any number)
  local room, client, most = ARGV[5], ARGV[6], tonumber(ARGV[7])
  local list, unknown = others(room)
  if call('HGET', members(me), client) == room then
    tell(list, 'e', 'new', 'r', room, 'c', client, 's', me, 'q', membership(room, client))
    tell({me}, 'e', 'again', 'n', number)
  elseif most > 0 and call('HLEN', clients(room)) >= most then
    tell({me}, 'e', 'full', 'n', number)
  else
    leave(client)
    local seq = call('INCR', memberships)
    call('HSET', clients(room), client, me .. ' ' .. seq)
    call('HSET', members(me), client, room)
    keep(clients(room), members(me), memberships)
    tell(list, 'e', 'new', 'r', room, 'c', client, 's', me, 'q', seq)
    tell({me}, 'e', 'joined', 'r', room, 'q', seq, 'n', number, 'o', unknown or '')
  end
elseif command == 'leave' then  -- client
  leave(ARGV[5])
elseif command == 'keep' then  -- rooms that have members here
  for i = 5, #ARGV do keep(clients(ARGV[i])) end
elseif command == 'bye' then
  remove(me)
end
return 'OK'
