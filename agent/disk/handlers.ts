/** Engine's questions about a node's disk. */
import type { covey } from '../../proto/messages.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import { type DiskKeeper, diskUse, type Listed } from './keeper.ts';
import { inTurn } from './marks.ts';

export interface DiskHandlersTools {
  readonly dir: string;
  readonly keeper: DiskKeeper;
}

export function diskHandlers({
  dir,
  keeper,
}: DiskHandlersTools): Pick<Handlers<typeof Engine>, 'diskUse' | 'pruneDisk'> {
  return {
    async diskUse(_request, { signal }) {
      const pressure = await keeper.check(signal);
      const { usedBytes, freeBytes } = await diskUse(dir);
      const items = inTurn(await keeper.list(signal)).map(itemOf);
      return { dir, usedBytes, freeBytes, pressure, items };
    },
    async *pruneDisk({ kinds, plan, until }, { signal }) {
      for (const each of inTurn(await keeper.list(signal))) {
        if (each.worth === 'needed' || (kinds.length > 0 && !kinds.includes(each.kind))) continue;
        if (until > 0 && each.usedAt >= until) continue;
        signal.throwIfAborted();
        if (plan || (await each.source.remove(each.id, signal))) yield itemOf(each);
      }
    },
  };
}

function itemOf({ kind, id, name, bytes, usedAt, worth }: Listed): covey.v1.DiskItem.$Properties {
  return { kind, id, name, bytes, usedAt, worth };
}
