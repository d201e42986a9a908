import { expect, it } from 'vitest';
import { Dice } from '../../sim/dice.ts';
import { imageKillTrial } from '../../support/image-kill-trial.ts';

/** `npm run test:image-kills` does the same with 50. */
const KILLS = 3;

it('an agent that is killed while it pulls, unpacks and removes images leaves them whole or gone', async () => {
  const { signal } = new AbortController();
  expect(await imageKillTrial({ kills: KILLS, dice: new Dice(7), signal })).toEqual([]);
});
