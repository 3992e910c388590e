// A server of JSON-RPC 2.0, as the package `rpc-websockets` has it: PORT. It knows { token: "right" }, and tells what it hears on stdout.
const { Server } = require("rpc-websockets");

const server = new Server({ host: "127.0.0.1", port: Number(process.argv[2]) });
server.wss.on("connection", (socket) => socket.on("message", (data) => process.stdout.write(`heard ${data}\n`)));
server.setAuth((login) => login.token === "right");
server.register("echo", ([text]) => text).protected();
server.event("news").protected();
