// A server of GraphQL over WebSocket, as the package `graphql-ws` has it: PORT. It wants a payload { token: "right" } below /guarded, and
// tells each message that it hears on stdout.
const { WebSocketServer } = require("ws");
const { useServer } = require("graphql-ws/use/ws");
const { buildSchema } = require("graphql");

const schema = buildSchema("type Query { hello: String } type Subscription { ticks: String }");
const roots = {
  query: { hello: () => "world" },
  subscription: {
    ticks: async function* () {
      for (;;) {
        yield { ticks: "tick" };
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  },
};
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]) });
server.on("connection", (socket) => {
  socket.on("message", (data) => process.stdout.write(`heard ${data}\n`));
  setTimeout(() => socket.send(JSON.stringify({ type: "ping" })), 300);
});
useServer(
  {
    schema,
    roots,
    onConnect: (context) =>
      !context.extra.request.url.startsWith("/guarded") || context.connectionParams?.token === "right",
  },
  server,
);
