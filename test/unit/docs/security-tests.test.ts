import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const TABLE = new URL('../../../docs/security-tests.md', import.meta.url);

function rows(): readonly (readonly [file: string, title: string])[] {
  const lines = readFileSync(TABLE, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| ') || line.startsWith('|  '));
  return lines.slice(1).map((line) => {
    const [, , , file = '', title = ''] = line.split('|').map((cell) => cell.trim());
    return [file.replaceAll('`', ''), title];
  });
}

it('every attack that the documents name is run by the test they name', () => {
  const found = rows();
  expect(found.length).toBeGreaterThan(30);
  for (const [file, title] of found) {
    const path = file.includes('/') ? file : `test/integration/native/${file}`;
    expect(title).not.toBe('');
    expect(readFileSync(new URL(`../../../${path}.test.ts`, import.meta.url), 'utf8'), file).toContain(title);
  }
});
