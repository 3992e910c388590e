// A program that Node's inspector looks into: PORT. Node tells of each connection, and the program what it is made to print.
require("inspector").open(Number(process.argv[2]), "127.0.0.1");
setInterval(() => {}, 1e6);
