import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { biomeConfig, isCurrent } from '../../../deploy/lint/generate.ts';
import { IMPURE_GLOBALS, PURE_FILES, ROOMS } from '../../../deploy/lint/rooms.ts';

/** A snippet in a room, and the text that biome must say about it; `undefined`: it must say nothing. */
interface Sample {
  readonly file: string;
  readonly code: string;
  readonly says: string | undefined;
}

const dir = mkdtempSync(join(tmpdir(), 'covey-lint-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** A file that lies in the room, two folders deep, so that relative imports look as they do there. */
function fileOf(glob: string, n: number): string {
  return glob.endsWith('.ts')
    ? glob.replaceAll('*', `x${n}`)
    : glob.replace('**/*.ts', `x${n}.ts`).replace('**', `x${n}.ts`);
}

/** An import text that a banned pattern matches. */
function specifierOf(pattern: string): string {
  if (pattern === '**') return '../../common/clock.ts';
  return pattern.replace(/^\*\*\//, '../../').replace(/\*\*$/, 'x.ts');
}

function samples(): Sample[] {
  const made: Sample[] = [];
  let n = 0;
  for (const room of ROOMS) {
    for (const ban of room.bans) {
      for (const pattern of ban.patterns.filter((text) => !text.startsWith('!'))) {
        n += 1;
        const code = `import { x${n} } from '${specifierOf(pattern)}';\nexport const y${n} = x${n};\n`;
        made.push({ file: fileOf(room.files[0] ?? '', n), code, says: ban.message });
      }
    }
  }
  const pure = [
    ...ROOMS.filter((room) => room.pure === true).map((room) => fileOf(room.files[0] ?? '', 0)),
    ...PURE_FILES,
  ];
  for (const file of pure) {
    const uses = IMPURE_GLOBALS.map((name, i) => `export const v${i} = ${name};`).join('\n');
    for (const name of IMPURE_GLOBALS) made.push({ file, code: `${uses}\n`, says: `global variable ${name}` });
  }
  const random = 'export const r = Math.random();\n';
  for (const name of ['orchestrator', 'updater', 'scheduler', 'allocator', 'nodes']) {
    made.push({ file: `manager/${name}/random.ts`, code: random, says: 'a decision has no randomness' });
  }
  made.push({ file: 'agent/build/dockerfile/random.ts', code: random, says: 'a decision has no randomness' });
  made.push({ file: 'agent/random.ts', code: random, says: undefined });
  const lines = (count: number) => Array.from({ length: count }, (_, i) => `  console.log(${i});`).join('\n');
  made.push({ file: 'agent/long-function.ts', code: `export function f(): void {\n${lines(61)}\n}\n`, says: 'lines' });
  made.push({ file: 'agent/long-file.ts', code: `${lines(401)}\nexport const z = 1;\n`, says: 'lines' });
  made.push({
    file: 'agent/cycle-a.ts',
    code: `import { b } from './cycle-b.ts';\nexport const a = () => b;\n`,
    says: 'cycle',
  });
  made.push({
    file: 'agent/cycle-b.ts',
    code: `import { a } from './cycle-a.ts';\nexport const b = () => a;\n`,
    says: 'cycle',
  });
  const good =
    "import { x } from '../../common/model/ids.ts';\nimport { y } from '../store/store.ts';\nexport const z = [x, y];\n";
  made.push({ file: 'manager/orchestrator/good.ts', code: good, says: undefined });
  made.push({
    file: 'manager/store/etcd-x.ts',
    code: "import { x } from 'etcd3';\nexport const y = x;\n",
    says: undefined,
  });
  made.push({
    file: 'agent/network/good.ts',
    code: "import { x } from '../../native/index.ts';\nexport const y = x;\n",
    says: undefined,
  });
  return made;
}

const all = samples();
const found = new Map<string, string[]>();

beforeAll(() => {
  writeFileSync(join(dir, 'biome.json'), biomeConfig());
  mkdirSync(join(dir, 'deploy/lint'), { recursive: true });
  cpSync('deploy/lint/no-random.grit', join(dir, 'deploy/lint/no-random.grit'));
  for (const sample of all) {
    mkdirSync(join(dir, dirname(sample.file)), { recursive: true });
  }
  // A room of one file gets all its snippets in that file.
  for (const file of new Set(all.map((sample) => sample.file))) {
    const codes = new Set(all.filter((sample) => sample.file === file).map((sample) => sample.code));
    writeFileSync(join(dir, file), [...codes].join(''));
  }
  const biome = resolve('node_modules/.bin/biome');
  const args = ['lint', '--reporter=json', '--max-diagnostics=none', '.'];
  let text: string;
  try {
    text = execFileSync(biome, args, {
      cwd: dir,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      maxBuffer: 64e6,
    });
  } catch (cause) {
    // It ends with 1 because it found what we planted.
    text = (cause as { stdout: string }).stdout;
  }
  for (const diagnostic of JSON.parse(text).diagnostics) {
    const at = diagnostic.location.path as string;
    found.set(at, [...(found.get(at) ?? []), diagnostic.message as string]);
  }
});

it.each(all)('in $file biome says: $says', ({ file, says }) => {
  const messages = found.get(file) ?? [];
  if (says === undefined) expect(messages).toEqual([]);
  else
    expect(
      messages.some((message) => message.toLowerCase().includes(says.toLowerCase())),
      messages.join('\n'),
    ).toBe(true);
});

it('has a biome.json that is generated from the table', () => {
  expect(isCurrent(readFileSync('biome.json', 'utf8'))).toBe(true);
});
