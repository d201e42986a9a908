import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { play } from './scenario.ts';

const folder = new URL('./scenarios/', import.meta.url);
const scripts = readdirSync(folder).filter((name) => name.endsWith('.txt'));

describe('scripted scenarios', () => {
  it.each(scripts)('go as their transcript says: %s', async (name) => {
    const transcript = play(readFileSync(new URL(name, folder), 'utf8'));
    await expect(transcript).toMatchFileSnapshot(new URL(name.replace('.txt', '.golden'), folder).pathname);
  });
});
