// A client of GraphQL over WebSocket, as the package `graphql-ws` has it: PORT.
const { createClient } = require("graphql-ws");

const client = createClient({
  url: `ws://127.0.0.1:${process.argv[2]}/v1/endpoints/e/ws?transparent=true`,
  webSocketImpl: require("ws"),
  lazy: false,
  retryAttempts: Infinity,
  shouldRetry: () => true,
  on: { connected: () => console.log("connected") },
});
client.subscribe(
  { query: "subscription { ticks }" },
  {
    next: ({ data }) => console.log("heard", data.ticks),
    error: (error) => console.log("error", error),
    complete: () => console.log("complete"),
  },
);
