import { describe, expect, it } from 'vitest';
import { playUpdate, type Recording } from './recorded.ts';

const RECORDINGS: readonly (Recording & { readonly name: string; readonly end: string })[] = [
  { name: 'a stop-first update', order: 'stop-first', image: 'ok:2', end: 'completed of revision 2' },
  { name: 'a start-first update', order: 'start-first', image: 'ok:2', end: 'completed of revision 2' },
  {
    name: 'an automatic rollback, stop-first',
    order: 'stop-first',
    image: 'crash-1000:2',
    end: 'rollback_completed of revision 1',
  },
  {
    name: 'an automatic rollback, start-first',
    order: 'start-first',
    image: 'crash-1000:2',
    end: 'rollback_completed of revision 1',
  },
];

describe('when the leader dies at any commit, the next one goes on to the same end', () => {
  it.each(RECORDINGS)('of $name', (recording) => {
    const undisturbed = playUpdate(recording, undefined);
    expect(undisturbed.state[0]).toBe(recording.end);
    expect(undisturbed.state).toHaveLength(7);
    expect(undisturbed.units).toBeGreaterThan(10);
    for (let unit = 1; unit <= undisturbed.units; unit++) {
      const { state, leaders } = playUpdate(recording, unit);
      expect(state, `the leader died after ${unit} units`).toEqual(undisturbed.state);
      expect(leaders, `leaders when the first one died after ${unit} units`).toBe(2);
    }
  });
});
