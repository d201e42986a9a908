import { expect, it } from 'vitest';
import { numberFlags, numbersIn } from '../../support/number-flags.ts';

it('reads numbers, and takes the defaults for what is not given', () => {
  expect(numberFlags({ kills: 50, share: 0 }, ['--share', '0.1'])).toEqual({ kills: 50, share: 0.1 });
  expect(numberFlags({ kills: 50 }, ['--kills=7'])).toEqual({ kills: 7 });
});

it.each([[['--kill', '7']], [['--kills']], [['--kills', 'many']], [['--kills', '-1']], [['--kills=']], [['seven']]])(
  'refuses %j',
  (args) => {
    expect(() => numbersIn(args, ['kills'])).toThrow(/kill|seven/);
  },
);
