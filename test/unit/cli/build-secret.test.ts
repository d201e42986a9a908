import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { secretsOf } from '../../../cli/flags/build-secret.ts';

const folder = mkdtempSync(join(tmpdir(), 'covey-secret-'));
const file = join(folder, 'file');
writeFileSync(file, 'of the file');
afterAll(() => rmSync(folder, { recursive: true }));

const ENV = { TOKEN: 'of the variable' };

it.each([
  [`id=t,src=${file}`, 'of the file'],
  [`id=t,source=${file}`, 'of the file'],
  [`type=file,id=t,src=${file}`, 'of the file'],
  ['id=t,env=TOKEN', 'of the variable'],
  ['type=env,id=t,src=TOKEN', 'of the variable'],
  ['type=env,id=t,env=TOKEN', 'of the variable'],
])('%s is what it says', (text, value) => {
  expect(Buffer.from(secretsOf([text], ENV).t ?? []).toString()).toBe(value);
});

it('is the variable of its name, else the file', () => {
  expect(Buffer.from(secretsOf(['id=TOKEN'], ENV).TOKEN ?? []).toString()).toBe('of the variable');
  expect(Buffer.from(secretsOf([`id=${file}`], ENV)[file] ?? []).toString()).toBe('of the file');
});

it.each([
  ['src=x', 'names no secret'],
  ['id=t,mode=1', '"mode" means nothing'],
  ['id=t,type=ssh', 'of an unknown type, ssh'],
  ['id=t,env=NONE', 'the variable NONE is not set'],
  ['id=t,src=/nowhere/at/all', 'cannot be read: ENOENT'],
])('%s is refused: %s', (text, why) => {
  expect(() => secretsOf([text], ENV)).toThrow(why);
});

it('has at most 500 KiB', () => {
  expect(() => secretsOf(['id=t,env=LONG'], { LONG: 'x'.repeat(500 * 1024 + 1) })).toThrow('more than 512000 bytes');
});
