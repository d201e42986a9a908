import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { settingsPath, withSettings } from '../../../deploy/docs/settings.ts';

it('is the present settings that docs/configuration.md shows (else: npx tsx deploy/docs/settings.ts)', () => {
  const text = readFileSync(settingsPath(), 'utf8');
  expect(text).toBe(withSettings(text));
});
