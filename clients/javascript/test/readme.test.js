// The README's programs, each in a process of its own, print what the README says.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Daemon, Peer } from './support.js';

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const examples = [...readFileSync(join(PACKAGE, 'README.md'), 'utf8').matchAll(/^## (.*)\n(?:(?!^## )[^])*?^```js\n([^]*?)^```\n\n```text\n([^]*?)^```/gm)];

test('the README’s programs', async (t) => {
  assert.equal(examples.length, 8);
  const peer = await Peer.echo(t);
  const folder = mkdtempSync(join(tmpdir(), 'wskeeper-readme-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(PACKAGE, join(folder, 'node_modules/wskeeper'));
  for (const [, title, program, wanted] of examples) {
    await t.test(title, async (t) => {
      assert.ok(program.split('\n').length <= 13, 'it is short');
      const daemon = await Daemon.start(t, `[endpoints.trades]\nurl = "${peer.url}"\nrequests = { id = "/id", reply = "/id" }\nsubscriptions = { add = { text = "add \${key}" } }\n`);
      await daemon.ready('trades');
      const file = join(folder, 'example.mjs');
      writeFileSync(file, program);
      const { stdout } = await run(process.execPath, [file], { cwd: folder, env: { ...process.env, WSKEEPER_API: daemon.base }, timeout: 20_000 });
      assert.equal(stdout, wanted);
    });
  }
});
