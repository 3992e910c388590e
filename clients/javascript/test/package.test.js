// The package: its types, its version, and the files that it ships.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as node from '../src/node.js';
import * as web from '../src/index.js';

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));

test('programs type-check against the types', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wskeeper-types-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(PACKAGE, join(folder, 'node_modules/wskeeper'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'types.ts'), readFileSync(join(PACKAGE, 'test/types.ts')));
  const tsc = join(process.env.WSKEEPER_TEST_ENV, 'node/node_modules/typescript/bin/tsc');
  const compilerOptions = { noEmit: true, strict: true, target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], module: 'NodeNext', types: [] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['types.ts'] }));
  await run(process.execPath, [tsc], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
});

test('the types name what the modules export', () => {
  const declared = (file) => [...readFileSync(join(PACKAGE, file), 'utf8').matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(web).sort(), declared('types/index.d.ts').sort());
  assert.deepEqual(Object.keys(node).sort(), [...declared('types/index.d.ts'), ...declared('types/node.d.ts')].sort());
});

test('the version is the daemon’s, and there is no dependency', () => {
  const cargo = readFileSync(join(PACKAGE, '../../Cargo.toml'), 'utf8');
  assert.equal(manifest.version, /^version = "(.*)"/m.exec(cargo)[1]);
  assert.equal(manifest.dependencies, undefined);
});

test('the modules for browsers import nothing of Node, and files are short', () => {
  for (const file of readdirSync(join(PACKAGE, 'src'), { recursive: true }).filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(join(PACKAGE, 'src', file), 'utf8');
    if (!file.startsWith('node')) assert.doesNotMatch(text, /from '(node:|\.\/node\/)/, file);
    assert.ok(text.split('\n').length <= 400, file);
    assert.match(text, /^\/\/ /, `${file} says what it is for`);
  }
});
