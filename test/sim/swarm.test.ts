/** B10 in virtual time: what the choices alone make of lines that computers never get to. */
import { describe, expect, it } from 'vitest';
import { type SwarmPlan, swarmStory } from './swarm-world.ts';

const SEEDS = [1, 2, 3, 4, 5];
/** 100 MB in 8 layers of 12 pieces for 50 nodes on 10 MB/s, from a manager on 20 MB/s. */
const FANOUT = { nodes: 50, layers: 8, piecesEach: 12, pieceMs: 104, originPieceMs: 52 } as const;
const LIMIT_MS = FANOUT.layers * FANOUT.piecesEach * FANOUT.pieceMs;

const part = (story: { readonly doneAt: readonly number[] }, share: number): number =>
  (story.doneAt[Math.ceil(story.doneAt.length * share) - 1] ?? Number.NaN) / LIMIT_MS;
const storyOf = (seed: number, more: Partial<SwarmPlan> = {}) => swarmStory({ ...FANOUT, seed, ...more });

describe('an image for fifty nodes at once', () => {
  it.each(SEEDS)(
    'is everywhere soon after one line could have carried it, and leaves the manager once (seed %i)',
    (seed) => {
      const story = storyOf(seed);
      expect(part(story, 0.5)).toBeLessThan(1.3);
      expect(part(story, 0.99)).toBeLessThan(1.8);
      expect(story.egress).toBeLessThan(2);
      // Each asks some ten others, of layer after layer the same.
      expect(story.connections).toBeLessThan(FANOUT.nodes * 12);
    },
  );

  it('is everywhere although some leave in the middle with what they have', () => {
    const leave = new Map([3, 14, 15, 26, 35].map((node, at) => [node, 1_000 + 500 * at]));
    const story = storyOf(11, { leave });
    expect(story.doneAt).toHaveLength(45);
    expect(part(story, 1)).toBeLessThan(1.8);
    expect(story.egress).toBeLessThan(2);
  });

  it('is one story for one seed', () => {
    const small = { nodes: 10, layers: 2 } as const;
    expect(storyOf(3, small)).toEqual(storyOf(3, small));
    expect(storyOf(3, small)).not.toEqual(storyOf(4, small));
  });
});
