// A client of NATS, as the package `nats.ws` has it: PORT. It reads what it publishes.
globalThis.WebSocket ??= require("ws");
const { connect, StringCodec } = require("nats.ws");

(async () => {
  const connection = await connect({
    servers: `ws://127.0.0.1:${process.argv[2]}/v1/endpoints/e/ws?transparent=true`,
    user: "keeper",
    pass: "pass 1",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  console.log("connected");
  (async () => {
    for await (const status of connection.status()) if (status.type === "reconnect") console.log("connected");
  })();
  setInterval(() => connection.publish("news", StringCodec().encode("hello")), 100);
  for await (const message of connection.subscribe("news")) console.log("heard", StringCodec().decode(message.data));
})();
