#!/bin/bash
#SBATCH --job-name=dnar2mae
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@900
# One torchrun a node, one process a GPU. 15 minutes before the time limit, or on preemption, torchrun gets SIGTERM and
# hands it to its processes, which write a checkpoint and stop within --shutdown-timeout; the job goes back into the queue
# if it has got anywhere, and on from there. A process that dies restarts the group, which resumes.
# Usage: sbatch docs/slurm.sh runs/big --config big.yaml --parallel fsdp
set -u
RUN=$1
shift
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
START=$(mktemp)
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # a store of its own for each start: nodes find each other again
if [ -d "$RUN/checkpoints" ]; then set -- --resume; fi
srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=8 --max-restarts=3 \
    --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 --shutdown-timeout=600 \
    --rdzv-backend=c10d --rdzv-endpoint="$HEAD:29500" --rdzv-id="$SLURM_JOB_ID" \
    -m dnar2mae.cli pretrain --out "$RUN" "$@"
NEW=$(find "$RUN/checkpoints" -maxdepth 1 -name 'step-*' -newer "$START")
if [ ! -f "$RUN/summary.json" ] && [ -n "$NEW" ]; then scontrol requeue "$SLURM_JOB_ID"; fi
