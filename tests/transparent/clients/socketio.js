// A client of Socket.IO, and of Engine.IO below it, as the package `socket.io-client` has them: PORT.
const { io } = require("socket.io-client");

const socket = io(`http://127.0.0.1:${process.argv[2]}`, {
  path: "/v1/endpoints/e/ws",
  query: { transparent: "true" },
  transports: ["websocket"],
  auth: { token: "right" },
  reconnectionDelay: 100,
  reconnectionDelayMax: 500,
});
socket.on("connect", () => console.log("connected"));
socket.on("connect_error", (error) => console.log("error", error.message));
socket.on("echo", (text) => console.log("heard", text));
setInterval(() => socket.connected && socket.emit("echo", "hello"), 100);
