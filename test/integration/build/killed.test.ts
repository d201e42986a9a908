import { afterEach, beforeEach, expect, it } from 'vitest';
import { killTrial } from '../../support/build-kills.ts';
import { NativeWorld } from '../../support/native-world.ts';

let place: NativeWorld;
beforeEach(() => {
  place = new NativeWorld();
});
afterEach(() => place.destroy());

it('leaves nothing that the next agent does not mend when it is killed while it builds', async () => {
  expect(await killTrial(place, 27)).toEqual([]);
});
