#!/usr/bin/env bash
# An echo peer on Erlang's Cowboy, as RabbitMQ brings it, that compresses: PORT FOLDER BITS CONTEXT, where BITS is the largest window both ways, and
# CONTEXT `kept` or `forgotten`. Phoenix and RabbitMQ stand on it.
set -euo pipefail
port=$1 folder=$2 bits=$3 context=$4
takeover=takeover
if [[ $context == forgotten ]]; then takeover=no_takeover; fi
cat >"$folder/echo.escript" <<ERLANG
#!/usr/bin/env escript
-module(echo).
-mode(compile).
-export([main/1, init/2, websocket_init/1, websocket_handle/2, websocket_info/2]).

main(_) ->
    {ok, _} = application:ensure_all_started(cowboy),
    Routes = cowboy_router:compile([{'_', [{'_', ?MODULE, []}]}]),
    {ok, _} = cowboy:start_clear(echo, [{ip, {127, 0, 0, 1}}, {port, $port}], #{env => #{dispatch => Routes}}),
    receive after infinity -> ok end.

init(Request, State) ->
    Deflate = #{server_max_window_bits => $bits, client_max_window_bits => $bits,
                server_context_takeover => $takeover, client_context_takeover => $takeover},
    {cowboy_websocket, Request, State, #{compress => true, deflate_opts => Deflate, idle_timeout => infinity}}.

websocket_init(State) -> {[], State}.

websocket_handle({text, Text}, State) -> {[{text, Text}], State};
websocket_handle({binary, Data}, State) -> {[{binary, Data}], State};
websocket_handle(_, State) -> {[], State}.

websocket_info(_, State) -> {[], State}.
ERLANG
plugins=$(echo /usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins)
export HOME=$folder ERL_LIBS=$plugins ERL_CRASH_DUMP_BYTES=0
exec escript "$folder/echo.escript"
