#!/bin/sh
# How a job of PBS is, in the words of Snakemake: a finished one (state F) by its exit status.
facts=$(qstat -x -f "$1" 2>/dev/null) || { echo running; exit 0; }
case "$facts" in
  *"job_state = F"*)
    case "$facts" in
      *"Exit_status = 0"*) echo success ;;
      *) echo failed ;;
    esac
    ;;
  *) echo running ;;
esac
