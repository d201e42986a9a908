import { expect, it } from 'vitest';
import { covey } from '../../../proto/messages.ts';

it('decodes int64 as plain numbers', () => {
  const bytes = covey.v1.Epoch.encode({ incarnation: 1, reign: 2 ** 52 }).finish();
  expect(covey.v1.Epoch.decode(bytes).reign).toBe(2 ** 52);
});

it('keeps an absent optional field apart from an empty one', () => {
  const bytes = covey.v1.Task.encode({ id: 'a', pending: '' }).finish();
  const task = covey.v1.Task.decode(bytes);
  expect(task.pending).toBe('');
  expect(task.because ?? undefined).toBeUndefined();
});
