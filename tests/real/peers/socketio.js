// A server of Socket.IO, as the package `socket.io` has it: PORT. It wants { token: "right" }, answers `echo` events, and tells what it hears on stdout.
const http = require("http");
const { Server } = require("socket.io");

const listener = http.createServer();
const server = new Server(listener, { pingInterval: 300, pingTimeout: 300, transports: ["websocket"] });
server.engine.on("connection", (raw) =>
  raw.on("packet", ({ type, data }) => process.stdout.write(`heard ${type} ${data ?? ""}\n`)),
);
server.use((socket, next) => {
  next(socket.handshake.auth.token === "right" ? undefined : new Error("this token is not known"));
});
server.on("connection", (socket) => {
  socket.on("subscribe", (room) => socket.join(room));
  socket.on("echo", (text) => socket.emit("echo", text));
});
listener.listen(Number(process.argv[2]), "127.0.0.1");
