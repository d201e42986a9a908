/**
 * The states of silent nodes: ready -> suspect -> unreachable -> lost, and never back.
 *
 * In go node statuses and the clock; out go transitions, nothing else is stored. The way back to `ready`, and the step to
 * `suspect` when a session closes, are the dispatcher's, who sees them happen.
 */
import { DEFAULT_FAILOVER_AFTER_MS, LOST_AFTER_MS } from '../../common/model/cluster.ts';
import type { Instant } from '../../common/model/ids.ts';
import { compareEpochs, type Epoch, type NodeState, type NodeStatus } from '../../common/model/node.ts';
import { movesAt, SILENCE_WINDOW_MS } from '../../common/model/silence.ts';
import { NOTHING, type Plan, type Reconciler, type Tick } from '../reconcile.ts';
import { check, put, remove, type Stored, type View } from '../store/store.ts';

interface Step {
  readonly at: Instant;
  readonly state: NodeState;
  readonly silentSince: Instant;
  readonly message: string;
}

/**
 * The reconciler of node states for the reign `epoch`; key = node id.
 * A `ready` node that has not opened a session in this reign gets one silence window from the take-over.
 */
export function liveness(epoch: Epoch): Reconciler {
  return {
    name: 'liveness',
    *keysOf(change, view) {
      if (change.kind === 'node-status' || change.kind === 'node') yield change.id;
      if (change.kind === 'cluster' || change.kind === 'leader') yield* allNodes(view);
    },
    allKeys: allNodes,
    decide(view, key, tick) {
      const status = view.get('node-status', key);
      if (status === undefined) return NOTHING;
      if (view.get('node', key) === undefined) {
        return { units: [[remove('node-status', key, status.rev), check('node', key, 0)]], because: 'node removed' };
      }
      const step = nextStep(view, status.value, epoch);
      return step === undefined ? NOTHING : take(status, step, tick);
    },
  };
}

function* allNodes(view: View): Iterable<string> {
  for (const status of view.all('node-status')) yield status.value.nodeId;
}

function take(status: Stored<NodeStatus>, step: Step, tick: Tick): Plan {
  if (tick.now < step.at) return { units: [], wakeAt: step.at };
  const { nodeId } = status.value;
  const value: NodeStatus = {
    ...status.value,
    state: step.state,
    since: tick.now,
    silentSince: step.silentSince,
    message: step.message,
  };
  return { units: [[put('node-status', nodeId, value, status.rev)]], because: `node ${nodeId}: ${step.message}` };
}

function nextStep(view: View, status: NodeStatus, epoch: Epoch): Step | undefined {
  const leader = view.get('leader', 'default')?.value;
  const silentSince = status.silentSince ?? status.since;
  switch (status.state) {
    case 'ready': {
      if (compareEpochs(status.epoch, epoch) >= 0) return undefined;
      const since = leader?.since ?? status.since;
      const message = 'no session since the leader changed';
      return { at: since + SILENCE_WINDOW_MS, state: 'suspect', silentSince: since, message };
    }
    case 'suspect': {
      const failoverAfterMs = view.get('cluster', 'default')?.value.failoverAfterMs ?? DEFAULT_FAILOVER_AFTER_MS;
      const at = movesAt(status, failoverAfterMs, leader) ?? silentSince;
      const message = `silent for more than ${failoverAfterMs / 1_000} s`;
      return { at, state: 'unreachable', silentSince, message };
    }
    case 'unreachable': {
      const message = `silent for more than ${LOST_AFTER_MS / 3_600_000} h`;
      return { at: silentSince + LOST_AFTER_MS, state: 'lost', silentSince, message };
    }
    case 'lost':
      return undefined;
  }
}
