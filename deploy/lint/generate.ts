/** Makes biome.json from rooms.ts: `npm run lint:rules`. With `--check` it only says whether the file is current. */
import { readFileSync, writeFileSync } from 'node:fs';
import { FILE_LINES_MAX, FUNCTION_LINES_MAX, IMPURE_GLOBALS, PURE_FILES, ROOMS, type Room } from './rooms.ts';

/** Written by programs, in their own form. */
const MADE = ['!**/node_modules', '!**/package-lock.json', '!**/biome.json'];

const deniedGlobals = Object.fromEntries(
  IMPURE_GLOBALS.map((name) => [name, `a decision does not touch ${name}: what it needs comes in as a parameter`]),
);

function override(room: Room): object {
  const patterns = room.bans.map((ban) => ({ group: ban.patterns, message: ban.message }));
  const imports = { level: 'error', options: { patterns } };
  const globals = { level: 'error', options: { deniedGlobals } };
  const style =
    room.pure === true
      ? { noRestrictedImports: imports, noRestrictedGlobals: globals }
      : { noRestrictedImports: imports };
  return { includes: room.files, linter: { rules: { style } } };
}

/** The whole of biome.json as text. */
export function biomeConfig(): string {
  const lines = (maxLines: number) => ({ level: 'error', options: { maxLines, skipBlankLines: false } });
  const config = {
    $schema: './node_modules/@biomejs/biome/configuration_schema.json',
    files: {
      includes: [
        '**/*.ts',
        '**/*.js',
        '**/*.mjs',
        '**/*.json',
        '!**/dist',
        '!**/proto/gen',
        '!**/native/build',
        ...MADE,
      ],
    },
    formatter: { indentStyle: 'space', indentWidth: 2, lineWidth: 120 },
    javascript: { formatter: { quoteStyle: 'single' } },
    plugins: ['./deploy/lint/no-random.grit'],
    linter: {
      enabled: true,
      rules: {
        preset: 'recommended',
        complexity: { noExcessiveLinesPerFunction: lines(FUNCTION_LINES_MAX) },
        style: {
          noExcessiveLinesPerFile: { level: 'error', options: { maxLines: FILE_LINES_MAX } },
          noEnum: 'error',
          noNamespace: 'error',
          noParameterProperties: 'error',
          noParameterAssign: 'error',
          noNonNullAssertion: 'error',
          useImportType: 'error',
        },
        suspicious: { noImportCycles: 'error' },
        performance: { noBarrelFile: 'error' },
        correctness: { noUnusedImports: 'error', noUnusedVariables: 'error' },
      },
    },
    overrides: [
      ...ROOMS.map(override),
      {
        includes: PURE_FILES,
        linter: { rules: { style: { noRestrictedGlobals: { level: 'error', options: { deniedGlobals } } } } },
      },
      // A describe block holds many tests; each test is a function of its own.
      { includes: ['test/**'], linter: { rules: { complexity: { noExcessiveLinesPerFunction: 'off' } } } },
      // The door to generated code re-exports it: that is its purpose.
      { includes: ['proto/messages.ts'], linter: { rules: { performance: { noBarrelFile: 'off' } } } },
    ],
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** True when the text holds what the table makes; its form is biome's own business. */
export function isCurrent(text: string): boolean {
  return JSON.stringify(JSON.parse(text)) === JSON.stringify(JSON.parse(biomeConfig()));
}

if (process.argv[1]?.endsWith('generate.ts') === true) {
  if (!process.argv.includes('--check')) writeFileSync('biome.json', biomeConfig());
  else if (!isCurrent(readFileSync('biome.json', 'utf8'))) {
    console.error('biome.json is not what deploy/lint/rooms.ts makes; run `npm run lint:rules`');
    process.exit(1);
  }
}
