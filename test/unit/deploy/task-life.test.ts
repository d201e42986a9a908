import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { documentPath, withTable } from '../../../deploy/docs/task-life.ts';

it('is the present task machine that docs/task-life.md shows (else: npx tsx deploy/docs/task-life.ts)', () => {
  const text = readFileSync(documentPath(), 'utf8');
  expect(text).toBe(withTable(text));
});
