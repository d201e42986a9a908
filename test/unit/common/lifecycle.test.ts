import { expect, it } from 'vitest';
import { aborted } from '../../../common/iterate.ts';
import { Scope } from '../../../common/lifecycle.ts';

it('closes what it owns in reverse order, after its tasks have ended', async () => {
  const scope = new Scope('test');
  const story: string[] = [];
  scope.own('a', 'a', (name) => void story.push(name));
  scope.own('b', 'b', async (name) => void story.push(name));
  scope.run('task', async (signal) => {
    await aborted(signal);
    story.push('task');
  });
  await scope.close();
  expect(story).toEqual(['task', 'b', 'a']);
});

it('ends as a whole when one of its tasks fails, and says which', async () => {
  const scope = new Scope('manager');
  scope.run('waiter', async (signal) => {
    await aborted(signal);
    throw signal.reason;
  });
  scope.run('watch', () => Promise.reject(new Error('gone')));
  await aborted(scope.signal);
  await expect(scope.close()).rejects.toThrow('manager: watch failed: gone');
});

it('closes everything even if one thing cannot be closed', async () => {
  const scope = new Scope('test');
  const story: string[] = [];
  scope.own('first', 1, () => void story.push('first'));
  scope.own('second', 2, () => Promise.reject(new Error('stuck')));
  await expect(scope.close()).rejects.toThrow('cannot close second: stuck');
  expect(story).toEqual(['first']);
});

it('is stopped by its parent', () => {
  const parent = new AbortController();
  const scope = new Scope('child', parent.signal);
  parent.abort(new Error('enough'));
  expect(scope.signal.reason).toEqual(new Error('enough'));
});
